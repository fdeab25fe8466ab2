-- view: judged_masks
-- rows: a held-out mask that every fit of its study and split is judged on
-- Some model of it ended well, and each fit that has predictions predicts it: all fits meet the same masks, also while a build is
-- under way. `panel` numbers the pairs of study and split: an integer key halves the time of the windows that come after.
with heldout_masks as (
    select distinct study_id, mask_id
    from margins
    where role = 'heldout' and status = 'ok'
),
predicted_fits as (
    select distinct study_id, split, fit
    from predictions
),
gaps as (
    select study_id, split, mask_id
    from heldout_masks join predicted_fits using (study_id) anti join predictions using (study_id, split, fit, mask_id)
)
select study_id, split, mask_id, (dense_rank() over (order by study_id, split))::integer as panel
from heldout_masks cross join (values ('test'), ('train')) as splits (split) anti join gaps using (study_id, split, mask_id)
