-- question: Which training examples lower the margin of a target the most?
-- paper: Ilyas et al. 2022 section 4
-- tables: weights, fits, examples, studies (through the macro leading_fits: lake/macros/)
-- param: target_id integer 0..2147483647 : position of the target in its split
-- param: k integer 1..1000000 = 10 : how many opponents
-- param: split test|train = test : which examples the targets are
-- param: study text = null : one study; null: all
-- param: fit text = null : a fit or a pattern such as lasso-*; null: the newest fit that predicts best
-- column: train_id integer : position of the training example
-- column: weight float [logit] : change of the target's margin when the example is included
-- column: label integer : class of the training example
-- column: target_label integer : class of the target
-- column: rank bigint : 1 is the strongest
-- column: study_id text : name of the study
-- column: fit text : name of the fit
-- rows: a training example that lowers the margin; fewer than k where fewer have such a weight
with ranked_weights as (
    select study_id, split, fit, target_id, train_id, weight,
           row_number() over (partition by study_id, fit order by weight asc, train_id) as rank
    from weights join leading_fits($study, $split, $fit) using (study_id, split, fit)
    where split = $split and target_id = $target_id and weight < 0
)
select train_id, weight, trained.label, target.label as target_label, rank, study_id, fit
from ranked_weights
left join studies using (study_id)
left join examples as trained on trained.dataset_id = studies.dataset_id and trained.split = 'train' and trained.example_id = train_id
left join examples as target on target.dataset_id = studies.dataset_id and target.split = ranked_weights.split and target.example_id = target_id
where rank <= $k
order by study_id, fit, rank
