-- macro: intervention_drops(of_study)
-- rows: a test target without an end of a component: drop of its margin beyond the mean drop without as many random examples,
-- observed (mean over coupled retrains) and predicted (sum of removed weights), and its score on the component
with outputs as (
    select study_id, role, mask_id as removal_id, repeat, unnest(range(len(test_margin)))::integer as target_id, unnest(test_margin)::double as margin
    from margins
    where status = 'ok' and (study_id, role) in (select (study_id, role) from interventions) and (of_study is null or study_id = of_study)
),
drops as (
    select study_id, role, outputs.removal_id, target_id, avg(whole.margin - outputs.margin) as observed
    from outputs join outputs as whole using (study_id, role, repeat, target_id)
    where whole.removal_id = 0 and outputs.removal_id > 0
    group by study_id, role, outputs.removal_id, target_id
),
removed_examples as (
    select study_id, role, fit, removal_id, unnest(removed) as train_id
    from interventions
),
sums as (
    select study_id, role, removal_id, target_id, sum(weight)::double as predicted
    from removed_examples join weights using (study_id, fit, train_id)
    where split = 'test'
    group by study_id, role, removal_id, target_id
),
effects as (
    select study_id, role, fit, removal_id, component, side, k, target_id, observed, coalesce(predicted, 0) as predicted
    from drops join interventions using (study_id, role, removal_id)
    left join sums using (study_id, role, removal_id, target_id)
),
gauges as (
    select study_id, role, k, target_id, avg(observed) as observed, avg(predicted) as predicted
    from effects
    where side = 'random'
    group by study_id, role, k, target_id
)
select study_id, role, fit, removal_id, component, side, k, target_id, effects.observed - gauges.observed as observed,
       effects.predicted - gauges.predicted as predicted
from effects join gauges using (study_id, role, k, target_id)
