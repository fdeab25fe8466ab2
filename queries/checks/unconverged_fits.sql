-- question: Which datamodels did not reach the tolerance of their certificates?
-- source: lake/tables.py: fits.kkt and fits.duality_gap
-- tables: fits
-- param: study text = null : one study; null: all
-- column: study_id text : name of the study
-- column: fit text : name of the fit
-- column: split text : which examples the targets are
-- column: target_id integer : position of the target in its split
-- column: kkt double [fraction] : optimality violation as a share of lambda_max
-- column: duality_gap double [fraction] : duality gap as a share of the null objective
-- rows: a datamodel that did not converge
select study_id, fit, split, target_id, kkt, duality_gap
from fits
where not converged and ($study is null or study_id = $study)
order by study_id, fit, split, target_id
