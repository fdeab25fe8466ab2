-- question: Which groups of images do the datamodels see, and how do they go with the classes?
-- paper: Ilyas et al. 2022 section 4 (spectral clustering of datamodels)
-- tables: clusters, examples, studies (through the view labelled_clusters of the catalog: lake/macros/)
-- param: study text = null : one study; null: all
-- param: within all|class = all : clusters of all examples together, or of each class by itself
-- column: cluster integer : number of the cluster: by class, then the largest first
-- column: label integer : class that most of its test targets have
-- column: n_test bigint : test targets in it
-- column: n_train bigint : training examples whose weights are nearest to its mean
-- column: purity double [fraction] : share of its test targets that have that class
-- column: train_purity double [fraction] : share of its training examples that have that class
-- column: classes text : test targets by class, most first, `4: 39, 9: 2`
-- column: similarity double [cosine] : mean over its test targets of the similarity with its mean
-- column: study_id text : name of the study
-- column: fit text : the fit whose weights were clustered
-- column: role text : one a plan
-- column: fingerprint text : fingerprint of the study
-- rows: a cluster
with counted_classes as (
    select study_id, role, within, cluster, label, count(*) filter (split = 'test') as n_test, count(*) filter (split = 'train') as n_train
    from labelled_clusters
    where within = $within and ($study is null or study_id = $study)
    group by study_id, role, within, cluster, label
),
compositions as (
    select study_id, role, within, cluster, arg_max(label, (n_test, -label)) as label, sum(n_test)::bigint as n_test, sum(n_train)::bigint as n_train,
           max(n_test) / sum(n_test) as purity, arg_max(n_train, (n_test, -label)) / nullif(sum(n_train), 0) as train_purity,
           string_agg(label || ': ' || n_test, ', ' order by n_test desc, label) filter (n_test > 0) as classes
    from counted_classes
    group by study_id, role, within, cluster
),
similarities as (
    select study_id, role, within, cluster, avg(similarity)::double as similarity, any_value(fit) as fit, any_value(fingerprint) as fingerprint
    from labelled_clusters
    where split = 'test'
    group by study_id, role, within, cluster
)
select cluster, label, n_test, n_train, purity, train_purity, classes, similarity, study_id, fit, role, fingerprint
from compositions join similarities using (study_id, role, within, cluster)
order by study_id, role, cluster
