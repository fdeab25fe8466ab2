-- question: Which predictions are not the bias plus the weights of the included examples?
-- source: Ilyas et al. 2022 section 3; the first held-out masks of each fit are added up anew
-- tables: masks, fits, weights, predictions
-- param: study text = null : one study; null: all
-- param: n_masks integer 1..1000000 = 1 : how many held-out masks of each fit are added up
-- column: study_id text : name of the study
-- column: fit text : name of the fit
-- column: split text : which examples the targets are
-- column: target_id integer : position of the target in its split
-- column: mask_id integer : the held-out mask
-- column: predicted_margin double [logit] : as stored
-- column: added_up double [logit] : bias plus included weights
-- rows: a prediction that is off by more than the tolerance
with params as (
    select 1e-3 as tolerance
),
first_masks as materialized (
    select study_id, mask_id, mask::bit as bits
    from masks
    where role = 'heldout' and mask_id < $n_masks and ($study is null or study_id = $study)
),
included_sums as (
    select study_id, fit, split, target_id, mask_id, sum(weight * get_bit(bits, train_id)) as total
    from weights join first_masks using (study_id)
    group by study_id, fit, split, target_id, mask_id
),
predicted as (
    select study_id, fit, split, mask_id,
           unnest(range(len(predicted_margin)))::integer as target_id, unnest(predicted_margin)::double as predicted_margin
    from predictions semi join first_masks using (study_id, mask_id)
),
added as (
    select study_id, fit, split, target_id, mask_id, predicted_margin, bias + total as added_up
    from predicted
    join included_sums using (study_id, fit, split, target_id, mask_id)
    join fits using (study_id, fit, split, target_id)
)
select study_id, fit, split, target_id, mask_id, predicted_margin, added_up
from added cross join params
where abs(predicted_margin - added_up) > tolerance * (1 + abs(added_up))
order by study_id, fit, split, mask_id, target_id
