-- question: Which targets does each training example raise and lower the most?
-- paper: Ilyas et al. 2022 section 4
-- tables: weights, examples, studies (through the macro leading_fits: lake/macros/)
-- param: k integer 1..1000000 = 6 : how many targets of each side
-- param: split test|train = test : which examples the targets are
-- param: study text = null : one study; null: all
-- param: fit text = null : a fit or a pattern such as lasso-*; null: the newest fit that predicts best
-- column: train_id integer : position of the training example
-- column: side text : `raises` or `lowers`
-- column: rank bigint : 1 is the strongest of its side
-- column: target_id integer : position of the target in its split
-- column: weight float [logit] : change of the target's margin when the example is included
-- column: label integer : class of the target
-- column: n_targets bigint : targets in which the example has a weight of this side
-- column: study_id text : name of the study
-- column: fit text : name of the fit
-- rows: a target among the k that a training example moves most, up or down
with ranked_weights as (
    select study_id, split, fit, target_id, train_id, weight, if(weight > 0, 'raises', 'lowers') as side,
           row_number() over (partition by study_id, fit, train_id, weight > 0 order by abs(weight) desc, target_id) as rank,
           count(*) over (partition by study_id, fit, train_id, weight > 0) as n_targets
    from weights join leading_fits($study, $split, $fit) using (study_id, split, fit)
    where split = $split
)
select train_id, side, rank, target_id, weight, label, n_targets, study_id, fit
from ranked_weights
left join studies using (study_id)
left join examples on examples.dataset_id = studies.dataset_id and examples.split = ranked_weights.split and example_id = target_id
where rank <= $k
order by study_id, fit, train_id, side desc, rank
