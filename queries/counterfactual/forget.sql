-- question: If margins are moved as the datamodels say, are they those of models that never saw a set?
-- paper: Georgiev et al. 2024 (arXiv 2410.23232): unlearning by datamodel matching, judged by the KL divergence of margins, KLoM
-- tables: removals, margins, weights, studies (through the macro forgotten_outputs of the catalog: lake/macros/)
-- KLoM is KL(p, q) of the margins of one example over models, in 20 bins of equal width between the smallest and the largest of both, margins
-- within 100, q at least 1e-5. p is from the first half of the repeats, q from retrains of the other half, so that no model is in both.
-- param: study text = null : one study; null: all
-- param: split test|train = test : which examples' margins
-- param: fit text = null : a fit or a pattern such as lasso-*; null: the newest fit that predicts best
-- param: least integer 2..1000000 = 20 : fewest repeats of a set for a divergence
-- column: method text : how the sets to forget were chosen
-- column: k integer : how many examples they have
-- column: points text : `test` examples, `removed` training examples, or `kept` ones
-- column: n_points bigint : pairs of set and example
-- column: repeats double : retrains of a set, mean
-- column: klom double [nat] : of unlearned margins from retrained ones, mean over pairs; NULL for too few repeats
-- column: klom_nothing double [nat] : the same when nothing is done: margins of models that saw the set
-- column: klom_retrained double [nat] : the same of other retrains: what no unlearning can be told to fall below
-- column: klom_95 double [nat] : 95% quantile of klom over pairs
-- column: rmse double [logit] : root mean square error of the mean unlearned margin, coupled retrains being right
-- column: rmse_nothing double [logit] : the same when nothing is done
-- column: study_id text : name of the study
-- column: fit text : the fit that unlearns
-- column: role text : role of the retrains: one a plan
-- column: fingerprint text : fingerprint of the study
-- rows: a method, a size and a kind of example
with halved_outputs as (
    select study_id, role, fit, method, k, removal_id, target_id,
           if($split = 'test', 'test', if(removed, 'removed', 'kept')) as points, before, after,
           unlearned, count(*) over same_pair as n, 2 * row_number() over (same_pair order by repeat) > n as late
    from forgotten_outputs($study, $split, $fit)
    window same_pair as (partition by study_id, role, fit, removal_id, target_id)
),
pairs as (
    select study_id, role, fit, method, k, points, count(*) as n,
           (avg(unlearned) - avg(after)) ** 2 as error, (avg(before) - avg(after)) ** 2 as of_nothing,
           list(unlearned) filter (not late) as unlearned, list(before) filter (not late) as before, list(after) filter (not late) as retrained,
           list(after) filter (late) as others
    from halved_outputs
    group by study_id, role, fit, method, k, points, removal_id, target_id
),
divergences as (
    select study_id, role, fit, method, k, points, n, error, of_nothing, if(n >= $least, binned_divergence(unlearned, others), null) as klom,
           if(n >= $least, binned_divergence(before, others), null) as klom_nothing,
           if(n >= $least, binned_divergence(retrained, others), null) as klom_retrained
    from pairs
)
select method, k, points, count(*) as n_points, avg(n) as repeats, avg(klom) as klom, avg(klom_nothing) as klom_nothing,
       avg(klom_retrained) as klom_retrained, quantile_cont(klom, 0.95) as klom_95, sqrt(avg(error)) as rmse, sqrt(avg(of_nothing)) as rmse_nothing,
       study_id, fit, role, any_value(fingerprint) as fingerprint
from divergences left join studies using (study_id)
group by study_id, role, fit, method, k, points
order by study_id, role, fit, method, k, points
