-- question: Which training examples are right only when they were trained on?
-- paper: Feldman and Zhang (arXiv 2008.03703), with margins in place of correctness
-- tables: masks, margins, weights, fits, examples, studies (through the macros left_out and leading_fits: lake/macros/)
-- param: study text = null : one study; null: all
-- param: fit text = null : a fit or a pattern such as lasso-*; null: the newest fit that predicts best
-- column: train_id integer : position of the training example
-- column: label integer : its class
-- column: memorization double [logit] : margin_in minus margin_out
-- column: standard_error double [logit] : standard error of memorization (Welch)
-- column: margin_in double [logit] : mean of its own margin over fit models trained with it
-- column: margin_out double [logit] : mean of its own margin over fit models trained without it
-- column: n_in bigint : models trained with it
-- column: n_out bigint : models trained without it
-- column: self_weight float [logit] : weight of the example in its own datamodel, 0 when it has none; NULL without a datamodel
-- column: study_id text : name of the study
-- column: fit text : name of the fit that self_weight is from
-- rows: a training example that some fit models saw and some did not (of a fit, where a pattern matches several)
with self_fits as (
    select study_id, fit, target_id as train_id
    from fits join leading_fits($study, 'train', $fit) using (study_id, split, fit)
),
self_weights as (
    select study_id, fit, train_id, coalesce(weight, 0) as self_weight
    from self_fits left join (
        select study_id, fit, train_id, weight
        from weights
        where split = 'train' and target_id = train_id
    ) using (study_id, fit, train_id)
)
select train_id, label, margin_in - margin_out as memorization, standard_error, margin_in, margin_out, n_in, n_out, self_weight, study_id, fit
from left_out($study)
left join self_weights using (study_id, train_id)
left join studies using (study_id)
left join examples on examples.dataset_id = studies.dataset_id and examples.split = 'train' and example_id = train_id
order by study_id, fit, memorization desc, train_id
