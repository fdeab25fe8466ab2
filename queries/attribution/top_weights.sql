-- question: Which training examples raise and lower each target the most, for all targets at once?
-- paper: Ilyas et al. 2022 section 4
-- tables: weights, examples, studies (through the macro leading_fits: lake/macros/)
-- param: k integer 1..1000000 = 6 : how many of each side
-- param: split test|train = test : which examples the targets are
-- param: study text = null : one study; null: all
-- param: fit text = null : a fit or a pattern such as lasso-*; null: the newest fit that predicts best
-- column: target_id integer : position of the target in its split
-- column: side text : `proponent` (raises the margin) or `opponent` (lowers it)
-- column: rank bigint : 1 is the strongest of its side
-- column: train_id integer : position of the training example
-- column: weight float [logit] : change of the target's margin when the example is included
-- column: label integer : class of the training example
-- column: study_id text : name of the study
-- column: fit text : name of the fit
-- rows: a training example among the k strongest of a side of a target
with ranked_weights as (
    select study_id, fit, target_id, train_id, weight, if(weight > 0, 'proponent', 'opponent') as side,
           row_number() over (partition by study_id, fit, target_id, weight > 0 order by abs(weight) desc, train_id) as rank
    from weights join leading_fits($study, $split, $fit) using (study_id, split, fit)
    where split = $split
)
select target_id, side, rank, train_id, weight, label, study_id, fit
from ranked_weights
left join studies using (study_id)
left join examples on examples.dataset_id = studies.dataset_id and examples.split = 'train' and example_id = train_id
where rank <= $k
order by study_id, fit, target_id, side desc, rank
