-- question: Which training images are exact or near copies of other training images, or of test images?
-- paper: Ilyas et al. 2022 section 4 (train-test leakage); Barz and Denzler (arXiv 1902.00423) on near copies
-- tables: examples, neighbours, planted, weights, fits, studies (through the macros duplicate_pairs and leading_fits: lake/macros/)
-- param: within double = 0.3 : a near copy is nearer than this share of the median distance from a training image to its nearest
-- param: study text = null : one study; null: all
-- param: fit text = null : a fit or a pattern such as lasso-*; null: the newest fit that predicts best
-- column: train_id integer : position of the training example
-- column: other_split text : `train`: the copied example comes earlier in the training split; `test`: it leaks
-- column: other_id integer : position of the copied example in its split
-- column: exact boolean : whether the pixels are the same
-- column: distance double : between the two, as a share of the median distance from a training image to its nearest; 0: exact
-- column: label integer : class of the training example
-- column: other_label integer : class of the copied example: another one is a contradiction
-- column: weight float [logit] : of the training example in the datamodel of the other; 0 when it has none; NULL without a datamodel
-- column: planted text : kind of the fault that was planted at the training example, if one was
-- column: study_id text : name of the study
-- column: fit text : name of the fit that weight is from
-- column: fingerprint text : fingerprint of the study
-- rows: a pair of examples (of a fit, where a pattern matches several)
with pairs as materialized (
    from duplicate_pairs($study, $within)
),
leading_of_split as materialized (
    from leading_fits($study, null, $fit)
),
pair_weights as (
    select study_id, split as other_split, fit, target_id as other_id, train_id, weight
    from weights join leading_of_split using (study_id, split, fit)
    where (study_id, split, target_id, train_id) in (select (study_id, other_split, other_id, train_id) from pairs)
)
select train_id, other_split, other_id, exact, distance, own.label, other.label as other_label, if(fit is null, null, coalesce(weight, 0)) as weight,
       planted.kind as planted, study_id, fit, fingerprint
from pairs
join examples as own on own.dataset_id = pairs.dataset_id and own.split = 'train' and own.example_id = train_id
join examples as other on other.dataset_id = pairs.dataset_id and other.split = other_split and other.example_id = other_id
left join planted on planted.dataset_id = pairs.dataset_id and planted.split = 'train' and planted.example_id = train_id and kind <> 'label'
left join (select study_id, split as other_split, fit from leading_of_split) using (study_id, other_split)
left join pair_weights using (study_id, other_split, fit, other_id, train_id)
order by study_id, fit, distance, other_split, train_id, other_id
