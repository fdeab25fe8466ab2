-- question: Which components set images of one class against each other: what helps some hurts others?
-- paper: Ilyas et al. 2022 section 4 (conflicting subpopulations)
-- tables: components, interventions, margins, weights, examples, studies (through component_places, intervention_drops: lake/macros/)
-- param: study text = null : one study; null: all
-- param: least integer 1..1000000 = 3 : test targets of the class at either end, at least
-- column: component integer : place by explained variance, from 0
-- column: label integer : class
-- column: n_high bigint : test targets of the class at the high end: scores above one standard deviation of all targets' scores
-- column: n_low bigint : test targets of the class at the low end: scores below minus one standard deviation
-- column: conflict double [fraction] : the fewer of the two, as a share of the class
-- column: high_drop double [logit] : mean drop of the class's high targets when the high end is removed, beyond random; NULL: not retrained
-- column: low_drop double [logit] : mean drop of the class's low targets when the high end is removed: negative where they gain
-- column: high_drop_without_low double [logit] : mean drop of the class's high targets when the low end is removed
-- column: low_drop_without_low double [logit] : mean drop of the class's low targets when the low end is removed
-- column: study_id text : name of the study
-- column: fit text : the fit whose components they are
-- column: role text : one a plan
-- column: fingerprint text : fingerprint of the study
-- rows: a component and a class that has targets at both of its ends
with scores as (
    select study_id, fingerprint, component_places.role, fit, component, component_places.example_id as target_id, label,
           value / nullif(sqrt(avg(value ** 2) over (partition by study_id, component_places.role, component)), 0) as score
    from component_places join studies using (study_id)
    join examples on examples.dataset_id = studies.dataset_id and examples.split = 'test' and examples.example_id = component_places.example_id
    where component_places.split = 'test' and embedding = 'weights' and ($study is null or study_id = $study)
),
drops as (
    select study_id, fit, component, target_id, avg(observed) filter (side = 'high') as without_high,
           avg(observed) filter (side = 'low') as without_low
    from intervention_drops($study)
    where side <> 'random'
    group by study_id, fit, component, target_id
)
select component, label, count(*) filter (score > 1) as n_high, count(*) filter (score < -1) as n_low, least(n_high, n_low) / count(*) as conflict,
       avg(without_high) filter (score > 1) as high_drop, avg(without_high) filter (score < -1) as low_drop,
       avg(without_low) filter (score > 1) as high_drop_without_low, avg(without_low) filter (score < -1) as low_drop_without_low,
       study_id, fit, role, any_value(fingerprint) as fingerprint
from scores left join drops using (study_id, fit, component, target_id)
group by study_id, role, fit, component, label
having n_high >= $least and n_low >= $least
order by study_id, role, conflict desc, component, label
