-- question: How many fewer retrainings does a removal effect need when retrains are coupled to their base models?
-- source: common random numbers: the variance of a difference falls with the covariance of its terms
-- tables: removals, margins, studies (through the view removal_effects of the catalog: lake/macros/)
-- param: study text = null : one study; null: all
-- column: method text : what was removed first
-- column: k integer : how many examples were removed
-- column: n_effects bigint : pairs of target and removal with two or more repeats
-- column: repeats double : coupled repeats of a pair, mean
-- column: coupled_sd double [logit] : standard deviation over repeats of a drop between models of equal weights and order
-- column: independent_sd double [logit] : the same between models that share neither, from their separate variances
-- column: ratio double : independent variance over coupled variance: how many times fewer retrainings give one precision
-- column: study_id text : name of the study
-- column: role text : role of the retrains: one a plan
-- column: fingerprint text : fingerprint of the study
-- rows: a method and number of removed examples
with variances as (
    select study_id, role, method, k, removal_id, target_id, count(*) as repeats, var_samp(margin_before - margin_after) as coupled,
           var_samp(margin_before) + var_samp(margin_after) as independent
    from removal_effects
    where ($study is null or study_id = $study) and algorithm is null
    group by study_id, role, method, k, removal_id, target_id
    having repeats > 1
)
select method, k, count(*) as n_effects, avg(repeats) as repeats, sqrt(avg(coupled)) as coupled_sd, sqrt(avg(independent)) as independent_sd,
       avg(independent) / nullif(avg(coupled), 0) as ratio, study_id, role, any_value(fingerprint) as fingerprint
from variances left join studies using (study_id)
group by study_id, role, method, k
order by study_id, role, method, k
