-- view: attributions
-- rows: what a fit or an imported method says that a training example does to a target; 0 where there is no row
with methods as (
    select distinct study_id, estimator as method, split, fit
    from fits
)
select study_id, fit, split, target_id, train_id, weight as value
from weights
union all
select study_id, fit, split, target_id, train_id, score as value
from scores join methods using (study_id, method, split)
