-- question: How well do the datamodels predict models that they never saw, and how well could anything predict them?
-- paper: Ilyas et al. 2022 section 3; LDS as in TRAK (arXiv 2303.14186)
-- tables: fits, predictions, margins, studies (through the macro fit_lds of the catalog: lake/macros/)
-- param: study text = null : one study; null: all
-- param: split test|train = null : which examples the targets are; null: both
-- param: fit text = null : a fit or a pattern such as lasso-*; null: the newest fit of each estimator
-- param: resamples integer 1..10000 = 200 : bootstrap resamples, over masks and targets at once
-- column: study_id text : name of the study
-- column: fit text : name of the fit
-- column: estimator text : how the datamodels were fitted
-- column: n_models integer : models they were fitted on
-- column: split text : which examples the targets are
-- column: lds_single double [correlation] : mean over targets of the Spearman over masks, predicted margin with each single output
-- column: lds_repeats double [correlation] : the same with the mean output over the repeats of a mask: the LDS
-- column: lds_low double [correlation] : 2.5% quantile of lds_repeats over the resamples
-- column: lds_high double [correlation] : 97.5% quantile of lds_repeats over the resamples
-- column: ceiling double [correlation] : the most that any prediction from the mask could correlate with the repeats' means (one-way ANOVA)
-- column: pooled_spearman double [correlation] : Spearman over all pairs of target and mask, not a measure of skill
-- column: pooled_bias_only double [correlation] : the same for each target's mean margin: what pooling gives for nothing
-- column: n_masks bigint : held-out masks judged on
-- column: n_targets bigint : targets in the means; those with constant outputs are left out
-- column: ceiling_single double [correlation] : the ceiling of lds_single
-- column: noise_ceiling double [correlation] : ceiling from even against odd repeats (Spearman-Brown), without the ANOVA
-- column: n_repeats double : models a mask (harmonic mean)
-- column: fingerprint text : fingerprint of the study
-- rows: a fit on the targets of a split
select study_id, fit, estimator, n_models, split, lds_single, lds_repeats, lds_low, lds_high, ceiling, pooled_spearman, pooled_bias_only,
       n_masks, n_targets, ceiling_single, noise_ceiling, n_repeats, fingerprint
from fit_lds($study, $split, $fit, $resamples) left join studies using (study_id)
order by study_id, split, lds_repeats desc, fit
