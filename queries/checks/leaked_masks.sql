-- question: Which held-out masks are also fit masks?
-- source: Ilyas et al. 2022 section 3: datamodels are judged on subsets that they were not fitted on
-- tables: masks
-- param: study text = null : one study; null: all
-- column: study_id text : name of the study
-- column: mask_id integer : the held-out mask
-- column: fit_mask_id integer : the fit mask with the same bits
-- rows: a pair of equal masks
select heldout.study_id, heldout.mask_id, fitted.mask_id as fit_mask_id
from masks as heldout join masks as fitted on heldout.study_id = fitted.study_id and heldout.mask = fitted.mask
where heldout.role = 'heldout' and fitted.role = 'fit' and ($study is null or heldout.study_id = $study)
order by heldout.study_id, heldout.mask_id, fitted.mask_id
