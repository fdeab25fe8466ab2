-- question: What did each removal predict for its target, and what happened when models were trained again?
-- paper: Ilyas et al. 2022 section 4.1
-- tables: removals, margins, studies (through the macro removal_drops of the catalog: lake/macros/)
-- param: study text = null : one study; null: all
-- param: relative boolean = false : drops beyond those of random sets of the same size
-- param: target_id integer 0..2147483647 = null : one test target; null: all
-- column: target_id integer : position of the test target
-- column: method text : what was removed first; `random` is the gauge
-- column: k integer : how many examples were removed
-- column: n_sets bigint : sets removed
-- column: repeats double : coupled retrains of a set, mean
-- column: margin_before double [logit] : mean margin with everything
-- column: margin_after double [logit] : mean margin without the set
-- column: predicted_drop double [logit] : sum of removed weights
-- column: curved_drop double [logit] : the same through the parabola from predicted to actual margin
-- column: observed_drop double [logit] : mean over coupled retrains of margin_before minus margin_after
-- column: flipped boolean : right before and wrong after
-- column: study_id text : name of the study
-- column: fit text : the fit that predicts
-- column: role text : role of the retrains: one a plan
-- column: fingerprint text : fingerprint of the study
-- rows: a method and number of removed examples of a target
select target_id, method, k, count(*) as n_sets, avg(repeats) as repeats, avg(before) as margin_before, avg(after) as margin_after,
       avg(predicted) as predicted_drop, avg(curved) as curved_drop, avg(observed) as observed_drop,
       avg(before) > 0 and avg(after) < 0 as flipped, study_id, fit, role, any_value(fingerprint) as fingerprint
from removal_drops($study, $relative) left join studies using (study_id)
where $target_id is null or target_id = $target_id
group by study_id, role, fit, target_id, method, k
order by study_id, role, target_id, method, k
