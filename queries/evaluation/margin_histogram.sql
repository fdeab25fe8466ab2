-- question: How is the margin of each target spread over the models trained with and without it?
-- paper: Ilyas et al. 2022 section 2; Feldman and Zhang (arXiv 2008.03703)
-- tables: masks, margins
-- param: target_id integer 0..2147483647 = null : position of the target in its split; null: every target
-- param: split test|train = test : which examples the targets are
-- param: study text = null : one study; null: all
-- param: bins integer 1..1000 = 40 : bins of equal width between the smallest and the largest margin of a target
-- column: target_id integer : position of the target in its split
-- column: included boolean : whether the models were trained on the target itself; false for test targets
-- column: bin integer : from 0
-- column: low double [logit] : lower end of the bin
-- column: high double [logit] : upper end of the bin
-- column: n_models bigint : fit models whose margin falls into the bin
-- column: n_wrong bigint : of these, models with a margin below 0
-- column: study_id text : name of the study
-- rows: a bin of a target's histogram that holds a model
with outputs as (
    select study_id, mask::bit as bits, case when $split = 'train' then train_margin else test_margin end as margins
    from margins join masks using (study_id, role, mask_id)
    where role = 'fit' and status = 'ok' and ($study is null or study_id = $study)
),
target_outputs as (
    select study_id, bits, unnest(range(len(margins)))::integer as target_id, unnest(margins)::double as margin
    from outputs
),
divided_outputs as (
    select study_id, target_id, margin, $split = 'train' and get_bit(bits, if($split = 'train', target_id, 0)) = 1 as included
    from target_outputs
    where $target_id is null or target_id = $target_id
),
spans as (
    select study_id, target_id, min(margin) as lowest, greatest((max(margin) - min(margin)) / $bins, 1e-6) as width
    from divided_outputs
    group by study_id, target_id
),
binned_outputs as (
    select study_id, target_id, included, margin, lowest, width, least(floor((margin - lowest) / width), $bins - 1)::integer as bin
    from divided_outputs join spans using (study_id, target_id)
)
select target_id, included, bin, lowest + bin * width as low, lowest + (bin + 1) * width as high, count(*) as n_models,
       count(*) filter (margin < 0) as n_wrong, study_id
from binned_outputs
group by study_id, target_id, included, bin, lowest, width
order by study_id, target_id, included, bin
