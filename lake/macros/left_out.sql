-- macro: left_out(of_study)
-- rows: a training example with its own margin over the fit models that were trained with it (in) and without it (out)
with outputs as (
    select study_id, mask::bit as bits, unnest(range(len(train_margin)))::integer as train_id, unnest(train_margin)::double as margin
    from margins join masks using (study_id, role, mask_id)
    where role = 'fit' and status = 'ok' and (of_study is null or study_id = of_study)
),
divided_outputs as (
    select study_id, train_id, margin, get_bit(bits, train_id) as included
    from outputs
)
select study_id, train_id, sum(included)::bigint as n_in, count(*) - n_in as n_out,
       avg(margin) filter (included = 1) as margin_in, avg(margin) filter (included = 0) as margin_out,
       sqrt(var_samp(margin) filter (included = 1) / n_in + var_samp(margin) filter (included = 0) / n_out) as standard_error
from divided_outputs
group by study_id, train_id
having n_in > 0 and n_out > 0
