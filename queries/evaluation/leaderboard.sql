-- question: Which attribution method predicts best what training examples do, ours and others' side by side, and at what cost?
-- paper: LDS as in TRAK (arXiv 2303.14186); counterfactuals of Ilyas et al. 2022 section 4.1; labels as in Koh and Liang 2017
-- tables: fits, removals, examples, planted, studies (through the macros fit_lds, fit_counterfactuals and fit_labels: lake/macros/)
-- param: study text = null : one study; null: all
-- param: fit text = null : a fit or a pattern such as trak-*; null: the newest fit of each method
-- param: resamples integer 1..10000 = 200 : bootstrap resamples, over masks and targets at once
-- column: method text : estimator, or the method of imported scores
-- column: lds_repeats double [correlation] : LDS against the mean over a mask's repeats
-- column: lds_low double [correlation] : 2.5% quantile of lds_repeats over the resamples
-- column: lds_high double [correlation] : 97.5% quantile of lds_repeats over the resamples
-- column: ceiling double [correlation] : the most that any prediction from the mask could reach
-- column: counterfactual_spearman double [correlation] : drops predicted and observed over all removed sets, whoever chose them, beyond random ones
-- column: counterfactual_within double [correlation] : the same over the sets of each target, mean over targets
-- column: counterfactual_bias_only double [correlation] : of each target's mean observed drop and the observed drop: what the target alone tells
-- column: label_auc double : how well a low mean effect on test targets tells the planted wrong labels from the others; 0.5 is chance
-- column: n_trainings integer : models that it needed, those it is judged on not counted
-- column: lds_single double [correlation] : LDS against single outputs
-- column: pooled_spearman double [correlation] : Spearman over all pairs of target and mask, not a measure of skill
-- column: pooled_bias_only double [correlation] : the same for each target's mean margin: what pooling gives for nothing
-- column: n_targets bigint : targets of the LDS
-- column: n_sets bigint : pairs of target and removed set
-- column: study_id text : name of the study
-- column: fit text : name of the fit
-- column: fingerprint text : fingerprint of the study
-- rows: a method on the test targets of a study
select estimator as method, lds_repeats, lds_low, lds_high, ceiling, counterfactual_spearman, counterfactual_within, counterfactual_bias_only,
       label_auc, n_models as n_trainings, lds_single, pooled_spearman, pooled_bias_only, n_targets, n_sets, study_id, fit, fingerprint
from fit_lds($study, 'test', $fit, $resamples)
left join fit_counterfactuals($study, $fit) using (study_id, fit)
left join fit_labels($study, $fit) using (study_id, fit)
left join studies using (study_id)
order by study_id, lds_repeats desc, fit
