-- macro: mean_weights(of_study, of_fit)
-- rows: a training example with the mean of its weights over all test targets of a fit, where one of them is not 0
with targets as (
    select study_id, fit, count(*) as n_targets
    from fits join leading_fits(of_study, 'test', of_fit) using (study_id, split, fit)
    group by study_id, fit
)
select study_id, fit, train_id, sum(weight) / any_value(n_targets) as mean_weight
from weights join targets using (study_id, fit)
where split = 'test'
group by study_id, fit, train_id
