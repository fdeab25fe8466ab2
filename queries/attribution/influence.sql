-- question: How does the margin of a target differ between models trained with and without each training example?
-- paper: Ilyas et al. 2022 appendix (empirical influence); Feldman and Zhang (arXiv 2008.03703)
-- tables: masks, margins, examples, studies
-- param: target_id integer 0..2147483647 : position of the target in its split
-- param: split test|train = test : which examples the targets are
-- param: study text = null : one study; null: all
-- param: models integer 2..2147483647 = null : only fit models with a smaller id, as a fit on so many; null: all
-- column: train_id integer : position of the training example
-- column: influence double [logit] : mean_in minus mean_out: positive when the example raises the margin
-- column: mean_in double [logit] : mean margin over fit models trained with the example
-- column: mean_out double [logit] : mean margin over fit models trained without it
-- column: n_in bigint : models trained with it
-- column: n_out bigint : models trained without it
-- column: t double [standard errors] : influence over its standard error, with one variance for both halves (Student)
-- column: label integer : class of the training example
-- column: study_id text : name of the study
-- rows: a training example that some fit models saw and some did not
with outputs as materialized (
    select study_id, mask::bit as bits, (case when $split = 'train' then train_margin else test_margin end)[$target_id + 1]::double as margin
    from margins join masks using (study_id, role, mask_id)
    where role = 'fit' and status = 'ok' and ($study is null or study_id = $study) and margin is not null
          and ($models is null or model_id < $models)
),
totals as (
    select study_id, count(*) as n, sum(margin) as total, sum(margin ** 2) as squares, max(bit_length(bits)) as n_bits
    from outputs
    group by study_id
),
train_ids as materialized (
    select study_id, unnest(range(n_bits))::integer as train_id
    from totals
),
included_sums as (
    select study_id, train_id, count(*) as n_in, sum(margin) as total_in
    from outputs join train_ids using (study_id)
    where get_bit(bits, train_id) = 1
    group by study_id, train_id
),
halves as (
    select study_id, train_id, n_in, n - n_in as n_out, total_in / n_in as mean_in, (total - total_in) / n_out as mean_out,
           (squares - total_in * mean_in - (total - total_in) * mean_out) / nullif(n - 2, 0) as variance
    from included_sums join totals using (study_id)
    where n_in < n
)
select train_id, mean_in - mean_out as influence, mean_in, mean_out, n_in, n_out,
       influence / nullif(sqrt(greatest(variance, 0) * (1 / n_in + 1 / n_out)), 0) as t, label, study_id
from halves
left join studies using (study_id)
left join examples on examples.dataset_id = studies.dataset_id and examples.split = 'train' and example_id = train_id
order by study_id, influence desc, train_id
