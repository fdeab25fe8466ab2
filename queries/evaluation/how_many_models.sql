-- question: How does the LDS grow with the number of models, and how far is it from its ceiling?
-- paper: Ilyas et al. 2022 section 3 (sample size); LDS as in TRAK (arXiv 2303.14186)
-- The LDS of m models is extrapolated as c / sqrt(1 + a / m) through two fits, with c no higher than the ceiling. For the difference of means
-- this is the closed form: c is the ceiling, and a is n_train over the share of a margin's variance that the subset causes.
-- tables: fits, predictions, margins (through the macro fit_lds of the catalog: lake/macros/)
-- param: study text = null : one study; null: all
-- param: split test|train = test : which examples the targets are; null: both
-- param: fit text = null : a fit or a pattern such as lasso-*; null: every fit
-- param: resamples integer 1..10000 = 200 : bootstrap resamples, over masks and targets at once
-- param: share double = 0.9 : the share of the ceiling that is enough
-- column: estimator text : how the datamodels were fitted
-- column: n_models integer : models they were fitted on
-- column: lds_single double [correlation] : LDS against single outputs
-- column: lds_repeats double [correlation] : LDS against the mean over a mask's repeats
-- column: lds_low double [correlation] : 2.5% quantile of lds_repeats over the resamples
-- column: lds_high double [correlation] : 97.5% quantile of lds_repeats over the resamples
-- column: ceiling double [correlation] : the most that any prediction from the mask could reach
-- column: ceiling_share double [fraction] : lds_repeats as a share of the ceiling
-- column: gain double [correlation] : lds_repeats minus that of the next smaller fit of the estimator
-- column: predicted double [correlation] : lds_repeats as extrapolated from the two largest fits on at most half as many models
-- column: error double [correlation] : predicted minus lds_repeats
-- column: predicted_double double [correlation] : LDS of twice as many models, as extrapolated from this fit and the next smaller
-- column: enough double : number of models that is enough, so extrapolated; NULL: no number is
-- column: study_id text : name of the study
-- column: split text : which examples the targets are
-- column: n_targets bigint : targets in the means
-- column: n_masks bigint : held-out masks judged on
-- column: fit text : name of the fit
-- rows: a fit on the targets of a split, whatever its number of models
with fits_of_size as materialized (
    select study_id, split, estimator, n_models, fit, lds_single, lds_repeats, lds_low, lds_high, ceiling, n_targets, n_masks,
           1 / ceiling ** 2 as best, if(lds_repeats > 0, 1 / lds_repeats ** 2, null) as y
    from fit_lds($study, $split, coalesce($fit, '*'), $resamples)
),
smaller_halves as (
    select larger.study_id, larger.split, larger.fit, max(smaller.n_models, 2) as sizes, max_by(smaller.y, smaller.n_models, 2) as ys
    from fits_of_size larger join fits_of_size smaller using (study_id, split, estimator)
    where smaller.n_models * 2 <= larger.n_models
    group by larger.study_id, larger.split, larger.fit
),
lines as (
    select study_id, split, fit, sizes[1] as m, ys[1] as y_of_m,
           greatest(asymptote(m, y_of_m, sizes[2], ys[2]), best) as from_halves,
           greatest(asymptote(n_models, y, lag(n_models) over same_estimator, lag(y) over same_estimator), best) as from_all,
           lds_repeats - lag(lds_repeats) over same_estimator as gain
    from fits_of_size left join smaller_halves using (study_id, split, fit)
    window same_estimator as (partition by study_id, split, estimator order by n_models, fit)
)
select estimator, n_models, lds_single, lds_repeats, lds_low, lds_high, ceiling, lds_repeats / nullif(ceiling, 0) as ceiling_share, gain,
       1 / sqrt(from_halves + (y_of_m - from_halves) * m / n_models) as predicted, predicted - lds_repeats as error,
       1 / sqrt(from_all + (y - from_all) / 2) as predicted_double,
       if($share ** 2 * from_all < best, n_models * (y - from_all) / (best / $share ** 2 - from_all), null) as enough,
       study_id, split, n_targets, n_masks, fit
from fits_of_size join lines using (study_id, split, fit)
order by study_id, split, estimator, n_models, fit
