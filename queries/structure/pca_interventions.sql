-- question: When the training examples at an end of a component are removed, what happens to the targets at either end?
-- paper: Ilyas et al. 2022 section 4 (PCA of datamodels): opposite effects on the two ends, hardly any on the average accuracy
-- tables: interventions, components, margins, weights, studies (through component_places and intervention_drops: lake/macros/)
-- param: ends integer 1..1000000 = 20 : test targets of either end
-- param: study text = null : one study; null: all
-- column: component integer : place of the component by explained variance, from 0
-- column: side text : `high` or `low`: the end that was removed
-- column: k integer : how many training examples were removed
-- column: own_drop double [logit] : mean drop of the targets at the removed end, beyond that without as many random examples
-- column: own_error double [logit] : standard error of own_drop over targets
-- column: own_predicted double [logit] : the same drop as the weights predict it
-- column: other_drop double [logit] : mean drop of the targets at the other end, beyond random
-- column: other_error double [logit] : standard error of other_drop over targets
-- column: other_predicted double [logit] : the same drop as the weights predict it
-- column: all_drop double [logit] : mean drop of all targets, beyond random
-- column: pearson double [correlation] : over all targets, of score (seen from the removed end) and drop
-- column: test_accuracy double [fraction] : mean over retrains without the end
-- column: random_accuracy double [fraction] : mean over retrains without as many random examples
-- column: repeats bigint : coupled retrains of a set
-- column: study_id text : name of the study
-- column: fit text : the fit whose components they are
-- column: role text : role of the retrains: one a plan
-- column: fingerprint text : fingerprint of the study
-- rows: an end of a component that was removed
with accuracies as (
    select study_id, role, mask_id as removal_id, avg(test_accuracy)::double as accuracy, count(*) as repeats
    from margins
    where status = 'ok'
    group by study_id, role, mask_id
),
random_accuracies as (
    select study_id, role, avg(accuracy) as random_accuracy
    from accuracies join interventions using (study_id, role, removal_id)
    where side = 'random'
    group by study_id, role
),
places as (
    select study_id, fit, component, example_id as target_id, any_value(value) as score,
           any_value(high_rank) as high_rank, any_value(low_rank) as low_rank
    from component_places
    where embedding = 'weights' and split = 'test'
    group by study_id, fit, component, example_id
),
effects as (
    select study_id, role, fit, component, side, k, removal_id, observed, predicted,
           if(side = 'high', score, -score) as towards, if(side = 'high', high_rank, low_rank) <= $ends as own,
           if(side = 'high', low_rank, high_rank) <= $ends as other
    from intervention_drops($study) join places using (study_id, fit, component, target_id)
)
select component, side, k, avg(observed) filter (own) as own_drop, stddev_samp(observed) filter (own) / sqrt(count(*) filter (own)) as own_error,
       avg(predicted) filter (own) as own_predicted, avg(observed) filter (other) as other_drop,
       stddev_samp(observed) filter (other) / sqrt(count(*) filter (other)) as other_error, avg(predicted) filter (other) as other_predicted,
       avg(observed) as all_drop, corr(towards, observed) as pearson,
       any_value(accuracy) as test_accuracy, any_value(random_accuracy) as random_accuracy,
       any_value(repeats) as repeats, study_id, fit, role, any_value(fingerprint) as fingerprint
from effects join accuracies using (study_id, role, removal_id) join random_accuracies using (study_id, role) left join studies using (study_id)
group by study_id, role, fit, component, side, k
order by study_id, role, component, side
