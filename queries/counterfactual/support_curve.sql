-- question: Which share of targets flips when at most so many training examples are removed, or relabelled?
-- paper: Ilyas et al. 2022 section 4.1 (data support): a fifth of CIFAR-10's test images without fewer than 40 of 50,000
-- tables: supports, studies (through the view smallest_supports of the catalog: lake/macros/)
-- param: study text = null : one study; null: all
-- column: method text : order in which examples were taken
-- column: change text : `removal` or `relabelling`
-- column: size integer : so many examples or fewer; sizes at which the share changes
-- column: share double [fraction] : of the targets that are right with everything, those confirmed to flip: a lower bound
-- column: share_low double [fraction] : lower end of the 95% interval of share (Wilson)
-- column: share_high double [fraction] : upper end of the 95% interval of share
-- column: n_targets bigint : targets that are right with everything
-- column: largest integer : most examples that were changed for any target
-- column: study_id text : name of the study
-- column: fit text : the fit that predicts
-- column: role text : role of the search: one a plan
-- column: fingerprint text : fingerprint of the study
-- rows: an order, a change and a number of examples
with counted_targets as (
    select study_id, role, fit, method, change, size, count(*) over every as n, max(largest) over every as largest,
           count(size) over (partition by study_id, role, fit, method, change order by size nulls last) as flipped
    from smallest_supports
    where $study is null or study_id = $study
    window every as (partition by study_id, role, fit, method, change)
),
shares as (
    select distinct study_id, role, fit, method, change, size, n, largest, flipped / n as p, 1.96 ** 2 / n as z
    from counted_targets
    where size is not null
)
select method, change, size, p as share, (p + z / 2 - sqrt(z * (p * (1 - p) + z / 4))) / (1 + z) as share_low,
       (p + z / 2 + sqrt(z * (p * (1 - p) + z / 4))) / (1 + z) as share_high, n as n_targets, largest, study_id, fit, role, fingerprint
from shares left join studies using (study_id)
order by study_id, role, method, change, size
