-- macro: removal_panels(of_study, relative, transferred := false)
-- rows: a method and a number of removed examples (NULL: all numbers together): how drops of margins go with the predicted ones over targets,
-- within a target (NULL where each has one set), and how each target's mean drop, which knows no set, goes with them
with points as (
    select study_id, role, algorithm, fit, method, target_id, repeats, before, after, observed, predicted, curved, unnest([k, null]) as k
    from removal_drops(of_study, relative, transferred)
),
ranked_points as (
    select study_id, role, algorithm, fit, method, target_id, k, repeats, before, after, observed, predicted, curved,
           rank() over p + count(*) over p as predicted_rank, rank() over c + count(*) over c as curved_rank,
           rank() over o + count(*) over o as observed_rank, regr_slope(observed, predicted) over panel as slope,
           regr_intercept(observed, predicted) over panel as intercept, predicted - avg(predicted) over panel as excess,
           avg(observed) over same_target as target_drop, rank() over tp + count(*) over tp as predicted_within, rank() over ts + count(*) over ts as observed_within
    from points
    window panel as (partition by study_id, role, method, k), same_target as (partition by study_id, role, method, k, target_id),
           tp as (partition by study_id, role, method, k, target_id order by predicted),
           ts as (partition by study_id, role, method, k, target_id order by observed), p as (partition by study_id, role, method, k order by predicted),
           c as (partition by study_id, role, method, k order by curved), o as (partition by study_id, role, method, k order by observed)
),
scored_points as (
    select study_id, role, algorithm, fit, method, target_id, k, repeats, before, after, observed, predicted, curved, predicted_rank, curved_rank,
           observed_rank, slope, excess, count(*) over same_target as n_points,
           sum(excess * (observed - intercept - slope * predicted)) over same_target as score, corr(predicted_within, observed_within) over same_target as within,
           rank() over t + count(*) over t as target_rank
    from ranked_points
    window same_target as (partition by study_id, role, method, k, target_id), t as (partition by study_id, role, method, k order by target_drop)
),
panels as (
    select study_id, role, algorithm, fit, method, k, count(distinct target_id) as n_targets, avg(repeats) as repeats,
           corr(predicted_rank, observed_rank) as spearman,
           sum(within / n_points) filter (isfinite(within)) / sum(1 / n_points) filter (isfinite(within)) as spearman_within,
           if(max(n_points) > 1, corr(target_rank, observed_rank), null) as spearman_bias_only, corr(predicted, observed) as pearson, any_value(slope) as slope,
           1.96 * sqrt(sum(score ** 2 / n_points)) / nullif(sum(excess ** 2), 0) as half_width, avg(predicted) as predicted_drop,
           avg(observed) as observed_drop, if(k is null, null, stddev_samp(observed) / sqrt(count(*))) as observed_error,
           avg(curved) as curved_drop, corr(curved_rank, observed_rank) as curved_spearman,
           avg((after < 0)::integer) filter (before > 0) as flipped
    from scored_points
    group by study_id, role, algorithm, fit, method, k
)
select study_id, role, algorithm, fit, method, k, n_targets, repeats, spearman, spearman_within, spearman_bias_only, pearson, slope, slope - half_width as slope_low,
       slope + half_width as slope_high, predicted_drop, observed_drop, observed_error, curved_drop, curved_spearman, flipped
from panels
