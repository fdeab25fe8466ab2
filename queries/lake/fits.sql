-- question: Which datamodels are there, how sparse are they, and did the solver converge?
-- paper: Ilyas et al. 2022 section 3 and the appendix on estimating datamodels
-- tables: fits
-- param: study text = null : one study; null: all
-- param: split test|train = null : which examples the targets are; null: both
-- param: fit text = null : a fit or a pattern such as lasso-*; null: every fit
-- column: study_id text : name of the study
-- column: fit text : name of the fit
-- column: estimator text : how the datamodels were fitted
-- column: split text : which examples the targets are
-- column: n_models integer : models they were fitted on
-- column: n_targets bigint : targets
-- column: mean_nonzero double : mean over targets of the number of training examples with a weight
-- column: median_lam double : median over targets of the penalty
-- column: worst_kkt double [fraction] : largest optimality violation as a share of lambda_max
-- column: worst_gap double [fraction] : largest duality gap as a share of the null objective
-- column: converged double [fraction] : share of targets whose certificates are within the tolerance
-- column: validation_r double [correlation] : mean over targets, with fit models held out
-- rows: a fit on the targets of a split
select study_id, fit, estimator, split, max(n_models) as n_models, count(*) as n_targets, avg(n_nonzero) as mean_nonzero,
       median(lam) as median_lam, max(kkt) as worst_kkt, max(duality_gap) as worst_gap, avg(converged::integer) as converged,
       avg(validation_r) as validation_r
from fits
where ($study is null or study_id = $study) and ($split is null or split = $split) and ($fit is null or fit glob $fit)
group by study_id, fit, estimator, split
order by study_id, split, estimator, n_models, fit
