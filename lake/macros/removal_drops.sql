-- macro: removal_drops(of_study, relative, transferred := false)
-- rows: a target of a removal: drop of its margin, mean over coupled repeats, observed and predicted; `relative` to the mean drop by random
-- sets of the same size, because weights fitted on subsets of one size are known up to a constant; `transferred`: by other learning algorithms instead of the study's
with drops as (
    select study_id, role, algorithm, removal_id, target_id, method, k, fit, count(*) as repeats, avg(margin_before) as before, avg(margin_after) as after,
           before - after as observed, any_value(predicted_drop) as predicted, any_value(curved_drop) as curved
    from removal_effects
    where (of_study is null or study_id = of_study) and (algorithm is not null) = transferred
    group by study_id, role, algorithm, removal_id, target_id, method, k, fit
),
gauges as (
    select study_id, role, target_id, k, avg(observed) as observed, avg(predicted) as predicted, avg(curved) as curved
    from drops
    where method = 'random'
    group by study_id, role, target_id, k
)
select study_id, role, algorithm, removal_id, target_id, method, k, fit, repeats, before, after,
       drops.observed - if(relative, gauges.observed, 0) as observed, drops.predicted - if(relative, gauges.predicted, 0) as predicted,
       drops.curved - if(relative, gauges.curved, 0) as curved
from drops left join gauges using (study_id, role, target_id, k)
