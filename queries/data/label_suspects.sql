-- question: Which training labels look wrong?
-- paper: Ilyas et al. 2022 section 4; Feldman and Zhang (arXiv 2008.03703)
-- tables: masks, margins, weights, fits, examples, studies (through the macros left_out and leading_fits: lake/macros/)
-- param: k integer 1..100000000 = 20 : how many suspects of each study
-- param: study text = null : one study; null: all
-- param: fit text = null : a fit or a pattern such as lasso-*; null: the newest fit that predicts best
-- column: train_id integer : position of the training example
-- column: label integer : the class that is in doubt
-- column: margin_out double [logit] : mean margin of the given label over fit models trained without the example: low is suspect
-- column: self_influence double [logit] : mean margin of models trained with it minus that of models trained without it: high is suspect
-- column: mean_weight double [logit] : mean over test targets of its weight: low is suspect; NULL without datamodels
-- column: rank bigint : 1 is the most suspect, by margin_out
-- column: study_id text : name of the study
-- column: fit text : name of the fit that mean_weight is from
-- rows: a training example, the k with the lowest margin_out (of a fit, where a pattern matches several)
with fit_sizes as (
    select study_id, fit, count(*) as n_targets
    from fits join leading_fits($study, 'test', $fit) using (study_id, split, fit)
    group by study_id, fit
),
total_weights as (
    select study_id, fit, train_id, sum(weight) as total
    from weights join fit_sizes using (study_id, fit)
    where split = 'test'
    group by study_id, fit, train_id
),
suspects as (
    select study_id, train_id, margin_out, margin_in - margin_out as self_influence,
           row_number() over (partition by study_id order by margin_out, train_id) as rank
    from left_out($study)
)
select train_id, label, margin_out, self_influence, coalesce(total, 0) / n_targets as mean_weight, rank, study_id, fit
from suspects
left join fit_sizes using (study_id)
left join total_weights using (study_id, fit, train_id)
left join studies using (study_id)
left join examples on examples.dataset_id = studies.dataset_id and examples.split = 'train' and example_id = train_id
where rank <= $k
order by study_id, fit, rank
