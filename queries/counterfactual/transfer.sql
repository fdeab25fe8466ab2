-- question: Do the datamodels of one learning algorithm predict what removals do to models of another?
-- paper: Ilyas et al. 2022 appendix (transfer): ResNet-9 datamodels and ResNet-18 retrains, Spearman 0.95 on CIFAR-10
-- tables: removals, margins, studies (through the macro removal_panels of the catalog: lake/macros/)
-- param: study text = null : one study; null: all
-- param: relative boolean = true : drops beyond those of random sets of the same size, which fixed-size designs know up to a constant
-- column: algorithm text : learning algorithm that was trained without the sets, with its options
-- column: method text : what was removed first; `random` is the gauge
-- column: k integer : how many examples were removed; NULL: every number, pairs of target and number together
-- column: n_targets bigint : targets
-- column: repeats double : coupled retrains of a removal, mean
-- column: spearman double [correlation] : rank correlation over targets of predicted and observed drop
-- column: spearman_within double [correlation] : the same over the sets of one target, mean over targets; NULL where a target has one set
-- column: spearman_bias_only double [correlation] : of each target's mean observed drop and the observed drop: what the target alone tells
-- column: pearson double [correlation] : of predicted and observed drop
-- column: slope double : observed drop for each predicted logit (least squares)
-- column: slope_low double : lower end of the 95% interval of slope, targets as clusters
-- column: slope_high double : upper end of the 95% interval of slope
-- column: predicted_drop double [logit] : mean predicted drop, the sum of removed weights
-- column: observed_drop double [logit] : mean observed drop
-- column: observed_error double [logit] : standard error of observed_drop over targets; NULL for all numbers together
-- column: curved_drop double [logit] : mean drop predicted through the parabola
-- column: curved_spearman double [correlation] : rank correlation of the drop predicted through the parabola and the observed one
-- column: flipped double [fraction] : of the targets that were right, the share that is wrong without the set
-- column: study_id text : name of the study
-- column: fit text : the fit that predicts
-- column: role text : role of the retrains: one a plan
-- column: fingerprint text : fingerprint of the study
-- rows: a method and number of removed examples
select algorithm, method, k, n_targets, repeats, spearman, spearman_within, spearman_bias_only, pearson, slope, slope_low, slope_high, predicted_drop,
       observed_drop, observed_error, curved_drop, curved_spearman, flipped, study_id, fit, role, fingerprint
from removal_panels($study, $relative, true) left join studies using (study_id)
order by study_id, algorithm, role, method, k nulls last
