-- view: smallest_supports
-- rows: a target with everything right, an order and a change: the smallest set that was confirmed to flip it, NULL where none was
with searches as (
    select study_id, role, fit, target_id, method, change, list_avg(any_value(margins::double[]) filter (step = 0)) as margin,
           min(size) filter (flips and confirming) as size, min(size) filter (predicted_margin < 0 and step = 1) as predicted_size,
           bool_or(flips) filter (step = 1) as flips_at_guess, bool_or(flips) filter (step in (1, 2)) as flips_at_fifth,
           max(size) as largest, sum(len(margins)) filter (step > 0) as n_models
    from supports
    group by study_id, role, fit, target_id, method, change
)
select study_id, role, fit, target_id, method, change, margin, size, predicted_size,
       if(predicted_size is null, null, flips_at_guess) as flips_as_predicted,
       if(predicted_size is null, null, flips_at_fifth) as flips_a_fifth_later, largest, n_models
from searches
where margin > 0
