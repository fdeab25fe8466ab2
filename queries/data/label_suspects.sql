-- question: Which training labels look wrong?
-- paper: Ilyas et al. 2022 section 4; Feldman and Zhang (arXiv 2008.03703)
-- tables: masks, margins, weights, fits, examples, planted, studies (through the macros label_scores, left_out and leading_fits: lake/macros/)
-- param: k integer 1..100000000 = 20 : how many suspects of each study
-- param: study text = null : one study; null: all
-- param: fit text = null : a fit or a pattern such as lasso-*; null: the newest fit that predicts best
-- column: train_id integer : position of the training example
-- column: label integer : the class that is in doubt
-- column: margin_out double [logit] : mean margin of the given label over fit models trained without the example: low is suspect
-- column: self_influence double [logit] : mean margin of models trained with it minus that of models trained without it: high is suspect
-- column: mean_weight double [logit] : mean over test targets of its weight: low is suspect; NULL without datamodels
-- column: rank bigint : 1 is the most suspect, by margin_out
-- column: wrong boolean : whether a wrong label was planted there; NULL where none was planted in the study
-- column: margin_out_auc double : how well margin_out tells planted labels from the others (ties count half); NULL without planted ones
-- column: self_influence_auc double : the same of self_influence
-- column: mean_weight_auc double : the same of mean_weight
-- column: study_id text : name of the study
-- column: fit text : name of the fit that mean_weight is from
-- column: fingerprint text : fingerprint of the study
-- rows: a training example, the k with the lowest margin_out (of a fit, where a pattern matches several)
with scored as materialized (
    from label_scores($study, $fit)
),
ranked as (
    select study_id, fit, train_id, left_out, self_influence, harm, wrong,
           row_number() over (partition by study_id, fit order by left_out desc, train_id) as rank,
           rank() over by_margin + (count(*) over (partition by study_id, fit, left_out) - 1) / 2.0 as margin_rank,
           rank() over by_influence + (count(*) over (partition by study_id, fit, self_influence) - 1) / 2.0 as influence_rank,
           rank() over by_harm + (count(*) over (partition by study_id, fit, harm) - 1) / 2.0 as harm_rank
    from scored
    window by_margin as (partition by study_id, fit order by left_out), by_influence as (partition by study_id, fit order by self_influence),
           by_harm as (partition by study_id, fit order by harm)
),
judged as (
    select study_id, fit, train_id, left_out, self_influence, harm, wrong, rank, count(*) filter (wrong) over own as n_wrong,
           nullif(n_wrong * (count(*) over own - n_wrong), 0) as n_pairs, n_wrong * (n_wrong + 1) / 2 as least,
           (sum(margin_rank) filter (wrong) over own - least) / n_pairs as margin_out_auc,
           (sum(influence_rank) filter (wrong) over own - least) / n_pairs as self_influence_auc,
           if(harm is null, null, sum(harm_rank) filter (wrong) over own - least) / n_pairs as mean_weight_auc
    from ranked
    window own as (partition by study_id, fit)
)
select train_id, label, -left_out as margin_out, self_influence, -harm as mean_weight, rank, if(n_wrong > 0, wrong, null) as wrong,
       margin_out_auc, self_influence_auc, mean_weight_auc, study_id, fit, fingerprint
from judged
left join studies using (study_id)
left join examples on examples.dataset_id = studies.dataset_id and examples.split = 'train' and example_id = train_id
where rank <= $k
order by study_id, fit, rank
