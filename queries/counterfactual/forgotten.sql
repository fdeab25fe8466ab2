-- question: What would the margins be if models had never seen these training examples?
-- paper: Georgiev et al. 2024 (arXiv 2410.23232): the target that unlearning by datamodel matching trains towards
-- tables: weights, fits, margins, removals, examples, studies (through the macro leading_fits: lake/macros/)
-- param: train_ids integers = 0 : the training examples, with commas between
-- param: split test|train = test : which examples' margins
-- param: study text = null : one study; null: all
-- param: fit text = null : a fit or a pattern such as lasso-*; null: the newest fit that predicts best
-- column: target_id integer : position of the target in its split
-- column: label integer : class of the target
-- column: margin double [logit] : with everything: mean over models trained on it, or as predicted where there are none
-- column: change double [logit] : minus the sum of the examples' weights
-- column: margin_without double [logit] : margin + change
-- column: flips boolean : whether margin and margin_without differ in sign
-- column: n_models bigint : models trained on everything; 0: margin is predicted
-- column: n_forgotten integer : training examples to forget
-- column: study_id text : name of the study
-- column: fit text : name of the fit
-- column: fingerprint text : fingerprint of the study
-- rows: a target
with sums as (
    select study_id, split, fit, target_id, sum(weight::double) as total, sum(weight::double) filter (list_contains($train_ids, train_id)) as removed
    from weights join leading_fits($study, $split, $fit) using (study_id, split, fit)
    group by study_id, split, fit, target_id
),
outputs as (
    select study_id, unnest(range(len(margins)))::integer as target_id, unnest(margins)::double as margin
    from (select study_id, role, if($split = 'train', train_margin, test_margin) as margins from margins where mask_id = 0 and status = 'ok')
    semi join (select study_id, role from removals where algorithm is null) using (study_id, role)
),
trained as (
    select study_id, target_id, avg(margin) as margin, count(*) as n_models
    from outputs
    group by study_id, target_id
)
select target_id, label, coalesce(trained.margin, bias + coalesce(total, 0)) as margin, -coalesce(removed, 0) as change,
       coalesce(trained.margin, bias + coalesce(total, 0)) - coalesce(removed, 0) as margin_without,
       sign(coalesce(trained.margin, bias + coalesce(total, 0))) <> sign(margin_without) as flips, coalesce(trained.n_models, 0) as n_models,
       len(list_distinct($train_ids))::integer as n_forgotten, study_id, fit, fingerprint
from fits join leading_fits($study, $split, $fit) using (study_id, split, fit)
left join sums using (study_id, split, fit, target_id) left join trained using (study_id, target_id) left join studies using (study_id)
left join examples on examples.dataset_id = studies.dataset_id and examples.split = fits.split and example_id = target_id
order by study_id, fit, target_id
