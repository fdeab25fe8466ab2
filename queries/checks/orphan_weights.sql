-- question: Which weights belong to no fitted datamodel, or are not as many as it says?
-- source: lake/tables.py: fits.n_nonzero counts the weights of a datamodel; a fit for the learning curve keeps none of them
-- tables: fits, weights
-- param: study text = null : one study; null: all
-- column: study_id text : name of the study
-- column: fit text : name of the fit
-- column: split text : which examples the targets are
-- column: target_id integer : position of the target in its split
-- column: n_weights bigint : weights stored
-- column: n_nonzero integer : weights that the fit counts; NULL when there is no fit
-- rows: a target that fails
with stored as (
    select study_id, fit, split, target_id, count(*) as n_stored
    from weights
    group by study_id, fit, split, target_id
),
kept_fits as (
    select distinct study_id, fit
    from weights
),
counted as (
    select study_id, fit, split, target_id, n_nonzero
    from fits semi join kept_fits using (study_id, fit)
)
select study_id, fit, split, target_id, coalesce(n_stored, 0) as n_weights, n_nonzero
from stored full join counted using (study_id, fit, split, target_id)
where n_nonzero is distinct from n_weights and ($study is null or study_id = $study)
order by study_id, fit, split, target_id
