-- question: What does a study whose training set was changed gain over another on the same test images?
-- paper: Ilyas et al. 2022 section 4; retraining on a cleaned training set
-- tables: margins, examples, studies
-- param: study text = null : the changed study; null: all
-- param: than text = null : the study to compare it with; null: all others with the same test images
-- column: study_id text : name of the study
-- column: than text : name of the other study
-- column: n_train bigint : training examples of the study, of which each model saw a share
-- column: than_n_train bigint : the same of the other
-- column: n_inits bigint : initialisations that models of both started from: the pairs that errors are estimated from
-- column: test_accuracy double [fraction] : mean over fit models
-- column: accuracy_gain double [fraction] : mean over initialisations of the difference in mean test accuracy
-- column: accuracy_error double [fraction] : its standard error
-- column: margin_gain double [logit] : mean over initialisations of the difference in mean test margin
-- column: margin_error double [logit] : its standard error
-- column: fingerprint text : fingerprint of the study
-- rows: an ordered pair of studies on the same test images
with model_means as (
    select study_id, init_id, test_accuracy::double as accuracy, list_avg(test_margin::double[]) as margin
    from margins
    where role = 'fit' and status = 'ok'
),
init_means as (
    select study_id, init_id, count(*) as n_models, avg(accuracy) as accuracy, avg(margin) as margin
    from model_means
    group by study_id, init_id
),
study_sets as (
    select study_id, fingerprint, count(*) filter (split = 'train') as n_train,
           md5(string_agg(image_sha256 || label, ',' order by example_id) filter (split = 'test')) as test_images
    from studies join examples using (dataset_id)
    group by study_id, fingerprint
),
pairs as (
    select own.study_id, other.study_id as than, own.fingerprint, own.n_train, other.n_train as than_n_train
    from study_sets as own join study_sets as other using (test_images)
    where own.study_id <> other.study_id and ($study is null or own.study_id = $study) and ($than is null or other.study_id = $than)
)
select pairs.study_id, than, n_train, than_n_train, count(*) as n_inits, avg(own.accuracy) as test_accuracy,
       avg(own.accuracy - other.accuracy) as accuracy_gain, stddev_samp(own.accuracy - other.accuracy) / sqrt(n_inits) as accuracy_error,
       avg(own.margin - other.margin) as margin_gain, stddev_samp(own.margin - other.margin) / sqrt(n_inits) as margin_error, fingerprint
from pairs
join init_means as own on own.study_id = pairs.study_id
join init_means as other on other.study_id = pairs.than and other.init_id = own.init_id
group by pairs.study_id, than, n_train, than_n_train, fingerprint
order by pairs.study_id, than
