-- macro: forgotten_outputs(of_study, of_split, of_fit)
-- rows: an example in one coupled repeat of a removed set: its margin with everything (before) and trained again without the set (after), and
-- `unlearned`, the margin before less the weights of the set: what datamodel matching aims at (Georgiev et al. 2024, arXiv 2410.23232).
-- Sets that one model was trained without are left out.
with repeated_masks as materialized (
    select study_id, role, mask_id
    from margins
    where status = 'ok' and (of_study is null or study_id = of_study)
    group by study_id, role, mask_id
    having count(*) > 1
),
removed_sets as materialized (
    select study_id, role, removal_id, method, k, any_value(removed) as removed
    from removals semi join repeated_masks on repeated_masks.study_id = removals.study_id and repeated_masks.role = removals.role
        and mask_id = removal_id
    where algorithm is null
    group by study_id, role, removal_id, method, k
),
removed_examples as (
    select study_id, role, removal_id, unnest(removed) as train_id
    from removed_sets
),
drops as (
    select study_id, role, removal_id, fit, target_id, sum(weight::double) as predicted_drop
    from removed_examples join weights using (study_id, train_id) join leading_fits(of_study, of_split, of_fit) using (study_id, split, fit)
    group by study_id, role, removal_id, fit, target_id
),
outputs as (
    select study_id, role, mask_id, repeat, unnest(range(len(margins)))::integer as target_id, unnest(margins)::double as margin
    from (select *, if(of_split = 'train', train_margin, test_margin) as margins from margins where status = 'ok')
    semi join repeated_masks using (study_id, role, mask_id) semi join removed_sets using (study_id, role)
)
select sets.study_id, sets.role, sets.removal_id, sets.method, sets.k, used.fit, without.target_id, without.repeat, base.margin as before,
       without.margin as after, base.margin - coalesce(predicted_drop, 0) as unlearned,
       of_split = 'train' and list_contains(sets.removed, without.target_id) as removed
from removed_sets sets
join outputs without on without.study_id = sets.study_id and without.role = sets.role and without.mask_id = sets.removal_id
join outputs base on base.study_id = sets.study_id and base.role = sets.role and base.mask_id = 0 and base.repeat = without.repeat
    and base.target_id = without.target_id
join leading_fits(of_study, of_split, of_fit) used on used.study_id = sets.study_id
left join drops on drops.study_id = sets.study_id and drops.role = sets.role and drops.removal_id = sets.removal_id and drops.fit = used.fit
    and drops.target_id = without.target_id
