-- macro: fit_counterfactuals(of_study, of_fit)
-- rows: a fit on the test targets of a study: how its predicted drops go with the observed ones over all removed sets, whoever chose them,
-- both beyond the mean drop by random sets of the same size
with chosen as materialized (
    from asked_fits(of_study, 'test', of_fit)
),
drops as materialized (
    select study_id, role, removal_id, target_id, method as chosen_by, k, observed
    from removal_drops(of_study, true)
),
removed_examples as (
    select study_id, role, removal_id, target_id, unnest(removed) as train_id
    from removals semi join drops using (study_id, role, removal_id, target_id)
),
test_attributions as (
    select number, study_id, target_id, train_id, value
    from attributions join chosen using (study_id, split, fit)
),
removed_sums as (
    select number, study_id, role, removal_id, target_id, sum(value) as total
    from removed_examples join test_attributions using (study_id, target_id, train_id)
    group by number, study_id, role, removal_id, target_id
),
kept_fits as (
    select distinct number
    from removed_sums
),
predicted_drops as (
    select number, study_id, role, removal_id, target_id, chosen_by, k, observed, coalesce(total, 0) as total
    from drops join chosen using (study_id) semi join kept_fits using (number)
    left join removed_sums using (number, study_id, role, removal_id, target_id)
),
gauged_drops as (
    select *, total - avg(total) filter (chosen_by = 'random') over (partition by number, role, target_id, k) as predicted
    from predicted_drops
),
mean_drops as (
    select *, avg(observed) over (partition by number, target_id) as target_drop
    from gauged_drops
    where chosen_by <> 'random'
),
ranked_drops as (
    select number, target_id, rank() over t + count(*) over t as target_rank, rank() over a + count(*) over a as predicted_rank, rank() over b + count(*) over b as observed_rank,
           rank() over c + count(*) over c as predicted_within, rank() over d + count(*) over d as observed_within
    from mean_drops
    window t as (partition by number order by target_drop), a as (partition by number order by predicted), b as (partition by number order by observed),
           c as (partition by number, target_id order by predicted), d as (partition by number, target_id order by observed)
),
targets as (
    select number, target_id, corr(predicted_within, observed_within) as within
    from ranked_drops
    group by number, target_id
),
within_targets as (
    select number, avg(within) as counterfactual_within
    from targets
    group by number
),
pooled as (
    select number, corr(predicted_rank, observed_rank) as counterfactual_spearman, corr(target_rank, observed_rank) as counterfactual_bias_only, count(*) as n_sets
    from ranked_drops
    group by number
)
select study_id, fit, counterfactual_spearman, counterfactual_within, counterfactual_bias_only, n_sets
from chosen join pooled using (number) join within_targets using (number)
