-- macro: fit_lds(of_study, of_split, of_fit, resamples)
-- rows: a fit on the targets of a split: its LDS, the bootstrap interval over masks and targets, and the ceilings beside it
-- Ranks are taken once; a resample weighs masks and targets by Poisson(1) counts, which depend on their positions and nothing else.
with targets as materialized (
    from target_lds(of_study, of_split, of_fit)
),
sizes as (
    select max(n_masks) as most_masks, max(target_id) + 1 as most_targets
    from targets
),
draws as materialized (
    select resample, list_transform(range(most_masks), lambda i: poisson(resample || '/mask/' || i)::double) as w,
           list_transform(range(most_targets), lambda i: poisson(resample || '/target/' || i)) as target_counts
    from sizes cross join range(resamples) as numbers (resample)
),
padded_targets as (
    select number, target_id, list_resize(list_transform(predicted_ranks, lambda v: 1.0::double), most_masks, 0) as ones,
           list_resize(predicted_ranks, most_masks, 0) as x, list_resize(mean_ranks, most_masks, 0) as y
    from targets cross join sizes
),
products as materialized (
    select *, list_transform(x, lambda v: v * v) as xx, list_transform(y, lambda v: v * v) as yy, list_transform(x, lambda v, i: v * y[i]) as xy
    from padded_targets
),
weighted_sums as (
    select number, resample, target_counts[target_id + 1] as n_drawn, list_dot_product(w, ones) as n, list_dot_product(w, x) as sx,
           list_dot_product(w, y) as sy, list_dot_product(w, xx) as sxx, list_dot_product(w, yy) as syy, list_dot_product(w, xy) as sxy
    from products cross join draws
    where n_drawn > 0
),
resampled_fits as (
    select number, resample,
           sum(n_drawn * coalesce((n * sxy - sx * sy) / nullif(sqrt((n * sxx - sx ** 2) * (n * syy - sy ** 2)), 0), 0)) / sum(n_drawn) as lds
    from weighted_sums
    where n * syy > sy ** 2
    group by number, resample
),
intervals as (
    select number, quantile_cont(lds, 0.025) as lds_low, quantile_cont(lds, 0.975) as lds_high
    from resampled_fits
    group by number
),
biased_targets as (
    select number, predicted, pooled_ranks, rank() over same_fit + count(*) over same_fit as bias_rank
    from targets join fits using (study_id, split, fit, target_id)
    window same_fit as (partition by number order by fits.mean_margin)
),
pairs as (
    select number, bias_rank, unnest(predicted) as predicted, unnest(pooled_ranks) as mean_rank
    from biased_targets
),
ranked_pairs as (
    select number, bias_rank, mean_rank, rank() over same_fit + count(*) over same_fit as predicted_rank
    from pairs
    window same_fit as (partition by number order by predicted)
),
pooled_fits as (
    select number, corr(predicted_rank, mean_rank) as pooled_spearman, corr(bias_rank, mean_rank) as pooled_bias_only
    from ranked_pairs
    group by number
)
select study_id, fit, estimator, n_models, split, avg(lds_single) as lds_single, avg(lds_repeats) as lds_repeats, lds_low, lds_high,
       avg(ceiling) as ceiling, avg(ceiling_single) as ceiling_single, avg(noise_ceiling) as noise_ceiling, pooled_spearman,
       pooled_bias_only, max(n_masks) as n_masks, count(lds_repeats) as n_targets, avg(n_repeats) as n_repeats
from targets left join intervals using (number) left join pooled_fits using (number)
group by study_id, fit, estimator, n_models, split, lds_low, lds_high, pooled_spearman, pooled_bias_only
