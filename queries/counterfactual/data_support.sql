-- question: How few training examples carry a prediction: without which, or with which relabelled, does the target flip?
-- paper: Ilyas et al. 2022 section 4.1 (data support): half of CIFAR-10's test images flip without 250 of 50,000 or fewer
-- tables: supports, studies (through the view smallest_supports of the catalog: lake/macros/)
-- param: study text = null : one study; null: all
-- param: target_id integer 0..100000000 = null : one target; null: all
-- column: target_id integer : test target that is right with every training example
-- column: method text : order in which examples were taken
-- column: removal_size integer : smallest number whose removal was confirmed to flip it, an upper bound; NULL: none up to the largest tried
-- column: verified boolean : whether models that took no part in the search agree that it flips
-- column: relabelling_size integer : smallest number whose relabelling as the next class was confirmed to flip it, an upper bound
-- column: margin double [logit] : mean margin with every training example
-- column: predicted_size integer : removals after which the datamodel predicts a margin below 0; NULL: never
-- column: flips_as_predicted boolean : whether that removal flips it
-- column: flips_a_fifth_later boolean : whether that removal, or one of 1.2 times the size, does
-- column: largest integer : most examples that were removed in the search
-- column: n_models bigint : models trained for the row
-- column: study_id text : name of the study
-- column: fit text : the fit that predicts
-- column: role text : role of the search: one a plan
-- column: fingerprint text : fingerprint of the study
-- rows: a target and an order
select target_id, method, any_value(size) filter (change = 'removal') as removal_size,
       removal_size is not null as verified,
       any_value(size) filter (change = 'relabelling') as relabelling_size,
       any_value(smallest_supports.margin) filter (change = 'removal') as margin,
       any_value(predicted_size) as predicted_size, any_value(flips_as_predicted) as flips_as_predicted,
       any_value(flips_a_fifth_later) as flips_a_fifth_later,
       any_value(largest) filter (change = 'removal') as largest, sum(n_models)::bigint as n_models, study_id, fit, role,
       any_value(fingerprint) as fingerprint
from smallest_supports left join studies using (study_id)
where ($study is null or study_id = $study) and ($target_id is null or target_id = $target_id)
group by study_id, role, fit, method, target_id
order by study_id, role, method, removal_size nulls last, target_id
