-- macro: target_lds(of_study, of_split, of_fit)
-- rows: a target of a fit, with the rank correlation over masks between predicted margin and held-out outputs (TRAK, arXiv 2303.14186)
-- A constant prediction counts as 0; constant outputs have no correlation and give NULL.
with predicted_outputs as (
    select number, study_id, split, fit, estimator, n_models, mask_id,
           unnest(range(len(predicted_margin)))::integer as target_id, unnest(predicted_margin)::double as margin
    from predictions
    semi join judged_masks using (study_id, split, mask_id)
    join asked_fits(of_study, of_split, of_fit) using (study_id, split, fit)
),
fitted_targets as (
    select number, study_id, split, fit, estimator, n_models, target_id, list(margin order by mask_id) as predicted
    from predicted_outputs
    group by number, study_id, split, fit, estimator, n_models, target_id
),
ranked_targets as (
    select fitted_targets.*, outputs.* exclude (study_id, split, target_id), centred_ranks(predicted) as predicted_ranks
    from fitted_targets join heldout_targets(of_study, of_split) as outputs using (study_id, split, target_id)
),
repeated_targets as (
    select *, if(list_min(repeats) < list_max(repeats), weighted_ranks(predicted, repeats), predicted_ranks) as repeated_ranks
    from ranked_targets
)
select *, rank_correlation(predicted_ranks, mean_ranks) as lds_repeats,
       case when rank_squares > 0 then coalesce(list_dot_product(repeated_ranks, rank_sums) / nullif(sqrt(rank_squares
           * list_dot_product(repeats, list_transform(repeated_ranks, lambda r: r * r))), 0), 0) end as lds_single
from repeated_targets
