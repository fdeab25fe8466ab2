-- question: Which targets depend on the training subset, which only on chance, and which does the datamodel predict?
-- paper: Ilyas et al. 2022 sections 2 and 3
-- tables: margins, predictions, fits, examples, studies (through the macros heldout_targets and leading_fits: lake/macros/)
-- param: study text = null : one study; null: all
-- param: split test|train = test : which examples the targets are; null: both
-- param: fit text = null : a fit or a pattern such as lasso-*; null: the newest fit that predicts best
-- column: study_id text : name of the study
-- column: split text : which examples the targets are
-- column: target_id integer : position of the target in its split
-- column: label integer : class of the target
-- column: mean_margin double [logit] : mean over held-out masks of the mean margin over repeats
-- column: sd_masks double [logit] : standard deviation that the choice of subset causes (ANOVA)
-- column: sd_repeats double [logit] : standard deviation between models of one mask
-- column: icc double [fraction] : share of the variance of a single output that the subset causes
-- column: ceiling double [correlation] : the most that a prediction could correlate with the repeats' means
-- column: accuracy double [fraction] : share of held-out models with a positive margin: right ones when the study's margin is `max`
-- column: fit text : name of the fit
-- column: validation_r float [correlation] : of the datamodel with fit models that it did not see
-- column: n_nonzero integer : training examples with a weight
-- column: n_masks bigint : held-out masks with outputs
-- rows: a target (of a fit, where a pattern matches several)
with chosen_fits as (
    select fits.study_id, fits.split, fits.target_id, fits.fit, fits.validation_r, fits.n_nonzero
    from fits join leading_fits($study, $split, $fit) using (study_id, split, fit)
)
select outputs.study_id, outputs.split, outputs.target_id, label, outputs.mean_margin, sqrt(signal) as sd_masks, sqrt(noise) as sd_repeats,
       icc, ceiling, positive_share as accuracy, fit, validation_r, n_nonzero, n_masks
from heldout_targets($study, $split) as outputs
left join chosen_fits using (study_id, split, target_id)
left join studies using (study_id)
left join examples on examples.dataset_id = studies.dataset_id and examples.split = outputs.split and example_id = outputs.target_id
order by outputs.study_id, outputs.split, outputs.target_id, fit
