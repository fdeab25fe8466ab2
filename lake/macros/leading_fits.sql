-- macro: leading_fits(of_study, of_split, of_fit)
-- rows: the fit that speaks for a study and split: of the newest, the one that predicts held-out fit models best; or those that match `of_fit`
select study_id, split, fit, estimator, n_models
from asked_fits(of_study, of_split, of_fit)
qualify of_fit is not null
    or row_number() over (partition by study_id, split order by n_models desc, validation_r desc nulls last, fit) = 1
