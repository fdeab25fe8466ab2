-- view: removal_effects
-- rows: a target of a removal in one coupled repeat: its margin with everything (before) and without the set (after), both trained alike
select removals.study_id, removals.role, algorithm, removal_id, target_id, method, k, fit, -predicted_change::double as predicted_drop,
       -curved_change::double as curved_drop, without.repeat, base.test_margin[target_id + 1]::double as margin_before,
       without.test_margin[target_id + 1]::double as margin_after
from removals
join margins as without on without.study_id = removals.study_id and without.role = removals.role and without.mask_id = removal_id
join margins as base
    on base.study_id = removals.study_id and base.role = removals.role and base.mask_id = 0 and base.repeat = without.repeat
where without.status = 'ok' and base.status = 'ok'
