-- macro: leading_fits(of_study, of_split, of_fit)
-- rows: the fit that speaks for a study and split: of the newest, the one that predicts held-out fit models best; or those that match `of_fit`
-- Imported scores have no rows in `weights`, so they speak only when they are asked for.
with methods as (
    select distinct study_id, method
    from scores
)
select study_id, split, fit, estimator, n_models
from asked_fits(of_study, of_split, of_fit) as asked
where of_fit is not null or (study_id, estimator) not in (select (study_id, method) from methods)
qualify of_fit is not null
    or row_number() over (partition by study_id, split order by n_models desc, validation_r desc nulls last, fit) = 1
