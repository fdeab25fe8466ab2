-- question: How does the LDS grow with the number of models, and how far is it from its ceiling?
-- paper: Ilyas et al. 2022 section 3 (sample size); LDS as in TRAK (arXiv 2303.14186)
-- tables: fits, predictions, margins (through the macro fit_lds of the catalog: lake/macros/)
-- param: study text = null : one study; null: all
-- param: split test|train = test : which examples the targets are; null: both
-- param: fit text = null : a fit or a pattern such as lasso-*; null: every fit
-- param: resamples integer 1..10000 = 200 : bootstrap resamples, over masks and targets at once
-- column: estimator text : how the datamodels were fitted
-- column: n_models integer : models they were fitted on
-- column: lds_single double [correlation] : LDS against single outputs
-- column: lds_repeats double [correlation] : LDS against the mean over a mask's repeats
-- column: lds_low double [correlation] : 2.5% quantile of lds_repeats over the resamples
-- column: lds_high double [correlation] : 97.5% quantile of lds_repeats over the resamples
-- column: ceiling double [correlation] : the most that any prediction from the mask could reach
-- column: ceiling_share double [fraction] : lds_repeats as a share of the ceiling
-- column: gain double [correlation] : lds_repeats minus that of the next smaller fit of the estimator
-- column: study_id text : name of the study
-- column: split text : which examples the targets are
-- column: n_targets bigint : targets in the means
-- column: n_masks bigint : held-out masks judged on
-- column: fit text : name of the fit
-- rows: a fit on the targets of a split, whatever its number of models
select estimator, n_models, lds_single, lds_repeats, lds_low, lds_high, ceiling, lds_repeats / nullif(ceiling, 0) as ceiling_share,
       lds_repeats - lag(lds_repeats) over (partition by study_id, split, estimator order by n_models, fit) as gain,
       study_id, split, n_targets, n_masks, fit
from fit_lds($study, $split, coalesce($fit, '*'), $resamples)
order by study_id, split, estimator, n_models, fit
