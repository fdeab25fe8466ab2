-- macro: heldout_targets(of_study, of_split)
-- rows: a target with what the held-out models say of it; lists go over the judged masks in order of mask_id
-- One-way analysis of variance over repeats of one mask: `noise` is the variance between repeats, `signal` the variance that masks cause,
-- and a correlation with averages of r repeats cannot exceed sqrt(signal / (signal + noise / r)).
with outputs as (
    select panel, study_id, split, target_id, mask_id, repeat, margin,
           rank() over same_target + count(*) over same_target as twice_rank
    from target_margins join judged_masks using (study_id, split, mask_id)
    where role = 'heldout' and (of_study is null or study_id = of_study) and (of_split is null or split = of_split)
    window same_target as (partition by panel, target_id order by margin)
),
mask_outputs as (
    select panel, study_id, split, target_id, mask_id, count(*)::double as n, avg(margin) as mean_margin,
           var_pop(margin) * count(*) as squares, sum((margin > 0)::integer) as n_positive,
           sum(twice_rank) / 2 as rank_sum, sum(twice_rank ** 2) / 4 as rank_squares,
           avg(margin) filter (repeat % 2 = 0) as even_margin, avg(margin) filter (repeat % 2 = 1) as odd_margin
    from outputs
    group by panel, study_id, split, target_id, mask_id
),
ranked_outputs as (
    select *, rank() over same_panel + count(*) over same_panel as pooled_rank
    from mask_outputs
    window same_panel as (partition by panel order by mean_margin)
),
targets as (
    select panel, study_id, split, target_id, count(*) as n_masks, count(*) / sum(1 / n) as n_repeats,
           avg(mean_margin) as mean_margin, sum(n_positive) / sum(n) as positive_share,
           var_samp(mean_margin) as variance, sum(squares) / nullif(sum(n - 1), 0) as noise,
           list(mean_margin order by mask_id) as means, list(n order by mask_id) as repeats, list(pooled_rank order by mask_id) as pooled_ranks,
           list(rank_sum order by mask_id) as rank_sums, sum(rank_squares) - sum(rank_sum) ** 2 / sum(n) as rank_squares,
           list(even_margin order by mask_id) filter (even_margin + odd_margin is not null) as evens,
           list(odd_margin order by mask_id) filter (even_margin + odd_margin is not null) as odds
    from ranked_outputs
    group by panel, study_id, split, target_id
),
ranked_targets as (
    select * exclude (variance, evens, odds), greatest(variance - noise / n_repeats, 0) as signal,
           centred_ranks(means) as mean_ranks, centred_ranks(evens) as even_ranks, centred_ranks(odds) as odd_ranks
    from targets
),
halved_targets as (
    select * exclude (even_ranks, odd_ranks), greatest(rank_correlation(even_ranks, odd_ranks), 0) as half_reliability
    from ranked_targets
)
select * exclude (half_reliability), signal / nullif(signal + noise, 0) as icc,
       sqrt(signal / nullif(signal + noise / n_repeats, 0)) as ceiling, sqrt(signal / nullif(signal + noise, 0)) as ceiling_single,
       sqrt(2 * half_reliability / (1 + half_reliability)) as noise_ceiling
from halved_targets
