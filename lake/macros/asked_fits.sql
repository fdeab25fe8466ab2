-- macro: asked_fits(of_study, of_split, of_fit)
-- rows: a fit of a study on the targets of a split: those whose name matches `of_fit`, or the newest of each estimator when it is null;
-- `number` is an integer key for the windows that come after, which are twice as fast for it
with sized_fits as (
    select study_id, split, fit, estimator, max(n_models) as n_models, avg(validation_r) as validation_r
    from fits
    where (of_study is null or study_id = of_study) and (of_split is null or split = of_split) and (of_fit is null or fit glob of_fit)
    group by study_id, split, fit, estimator
)
select study_id, split, fit, estimator, n_models, validation_r, (row_number() over (order by study_id, split, fit))::integer as number
from sized_fits
qualify of_fit is not null or n_models = max(n_models) over (partition by study_id, split, estimator)
