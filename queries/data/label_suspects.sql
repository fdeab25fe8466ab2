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
    select study_id, fit, wrong, measure, (rank() over low_first + count(*) over low_first) / 2.0 as mean_rank
    from (select study_id, fit, wrong, unnest(['margin', 'influence', 'weight']) as measure, unnest([left_out, self_influence, harm]) as value
          from scored)
    where value is not null
    window low_first as (partition by study_id, fit, measure order by value)
),
aucs as (
    select study_id, fit, measure, count(*) filter (wrong) as n_wrong,
           (sum(mean_rank) filter (wrong) - n_wrong * (n_wrong + 1) / 2) / nullif(n_wrong * count(*) filter (not wrong), 0) as auc
    from ranked
    group by study_id, fit, measure
),
judged as (
    select study_id, fit, max(n_wrong) as n_wrong, max(auc) filter (measure = 'margin') as margin_out_auc,
           max(auc) filter (measure = 'influence') as self_influence_auc, max(auc) filter (measure = 'weight') as mean_weight_auc
    from aucs
    group by study_id, fit
)
select train_id, label, -left_out as margin_out, self_influence, -harm as mean_weight,
       row_number() over (partition by scored.study_id, scored.fit order by left_out desc, train_id) as rank, if(n_wrong > 0, wrong, null) as wrong,
       margin_out_auc, self_influence_auc, mean_weight_auc, scored.study_id, scored.fit, fingerprint
from scored join judged on judged.study_id = scored.study_id and judged.fit is not distinct from scored.fit
left join studies on studies.study_id = scored.study_id
left join examples on examples.dataset_id = studies.dataset_id and examples.split = 'train' and example_id = train_id
qualify rank <= $k
order by scored.study_id, scored.fit, rank
