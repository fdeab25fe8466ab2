-- question: Which training examples are worth most to a set of targets, so that training on them alone serves these?
-- paper: Engstrom, Feldmann, Madry 2024 (DsDm, arXiv 2401.12926): train on the examples with the largest mean weight over the targets
-- tables: weights, fits, examples, studies (through the macro leading_fits: lake/macros/)
-- param: k integer 1..100000000 = 100 : how many training examples
-- param: label integer 0..100000000 = null : the targets are those of one class; null: of every class
-- param: target_ids integers = null : the targets, with commas between; null: all of them
-- param: split test|train = test : which examples the targets are
-- param: study text = null : one study; null: all
-- param: fit text = null : a fit or a pattern such as lasso-*; null: the newest fit that predicts best
-- column: rank bigint : 1 is worth most
-- column: train_id integer : position of the training example
-- column: label integer : class of the training example
-- column: mean_weight double [logit] : mean over the targets of the change of the margin when the example is included
-- column: share_raised double [fraction] : share of the targets with a positive weight
-- column: running_gain double [logit] : sum of mean_weight down to this rank
-- column: n_targets bigint : targets
-- column: study_id text : name of the study
-- column: fit text : name of the fit
-- column: fingerprint text : fingerprint of the study
-- rows: a training example among the k worth most to the targets; as CSV it is a keep-list for a study
with targets as (
    select fits.study_id, fits.split, fits.fit, target_id, studies.dataset_id, fingerprint,
           count(*) over (partition by fits.study_id, fits.fit) as n_targets
    from fits join leading_fits($study, $split, $fit) using (study_id, split, fit) join studies using (study_id)
    left join examples on examples.dataset_id = studies.dataset_id and examples.split = fits.split and example_id = target_id
    where ($label is null or examples.label = $label)
        and ($target_ids is null or list_contains($target_ids, target_id))
),
mean_weights as (
    select study_id, fit, dataset_id, fingerprint, train_id, sum(weight::double) / n_targets as mean_weight,
           count(*) filter (weight > 0) / n_targets as share_raised, n_targets
    from weights join targets using (study_id, split, fit, target_id)
    group by study_id, fit, dataset_id, fingerprint, train_id, n_targets
),
ranked_examples as (
    select study_id, fit, dataset_id, fingerprint, train_id, mean_weight, share_raised, n_targets, sum(mean_weight) over best_first as running_gain,
           row_number() over best_first as rank
    from mean_weights
    window best_first as (partition by study_id, fit order by mean_weight desc, train_id)
)
select rank, train_id, label, mean_weight, share_raised, running_gain, n_targets, study_id, fit, fingerprint
from ranked_examples
left join examples on examples.dataset_id = ranked_examples.dataset_id and examples.split = 'train' and example_id = train_id
where rank <= $k
order by study_id, fit, rank
