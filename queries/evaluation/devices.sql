-- question: Are the margins of models that were trained on different devices equally distributed?
-- source: Welch's statistic for means and the large-sample statistic of normal log standard deviations, target by target
-- tables: margins, partitions
-- param: study text = null : one study; null: all
-- param: role fit|heldout = fit : which models
-- column: study_id text : name of the study
-- column: device text : what the first group of models was trained on
-- column: other text : what the second group was trained on
-- column: n_models bigint : models of the first
-- column: n_other bigint : models of the second
-- column: n_targets bigint : test examples whose margins vary on both
-- column: mean_shift double [logit] : mean over targets of the first mean minus the second
-- column: z_mean double : root mean square over targets of the z of the two means; about 1 when they are equal
-- column: z_sd double : the same of the two standard deviations; about 1 when they are equal and margins normal
-- column: worst_z double : largest z of two means, in size
-- column: worst_target integer : target of it
-- rows: a pair of devices in a study
with computed as (
    select m.study_id, p.device, m.test_margin
    from margins m join partitions p on p.table_name = 'margins' and p.study_id = m.study_id and p.role = m.role
        and p.index = m.model_id // (p.identity->>'partition_models')::integer
    where m.status = 'ok' and m.role = $role and ($study is null or m.study_id = $study)
),
margin_of_target as (
    select study_id, device, unnest(test_margin)::double as margin, generate_subscripts(test_margin, 1) - 1 as target_id from computed
),
moments as (
    select study_id, device, target_id, count(*) as n, avg(margin) as mean, stddev_samp(margin) as sd
    from margin_of_target group by study_id, device, target_id having sd > 0
),
compared as (
    select a.study_id, a.device, b.device as other, a.target_id, a.n, b.n as n_other, a.mean - b.mean as shift,
        shift / sqrt(a.sd ** 2 / a.n + b.sd ** 2 / b.n) as z_mean,
        ln(a.sd / b.sd) / sqrt(0.5 / (a.n - 1) + 0.5 / (b.n - 1)) as z_sd
    from moments a join moments b on a.study_id = b.study_id and a.target_id = b.target_id and a.device < b.device
)
select study_id, device, other, max(n) as n_models, max(n_other) as n_other, count(*) as n_targets, avg(shift) as mean_shift,
       sqrt(avg(z_mean ** 2)) as z_mean, sqrt(avg(z_sd ** 2)) as z_sd, max(abs(z_mean)) as worst_z,
       arg_max(target_id, abs(z_mean))::integer as worst_target
from compared
group by study_id, device, other
order by study_id, device, other
