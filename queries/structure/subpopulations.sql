-- question: Which subpopulations are there within a class, and which training images do they need?
-- paper: Ilyas et al. 2022 section 4 (subpopulations by datamodels)
-- tables: clusters, weights, fits, examples, studies (through the view labelled_clusters of the catalog: lake/macros/)
-- param: study text = null : one study; null: all
-- column: label integer : class
-- column: cluster integer : number of the cluster, the largest of its class first
-- column: n_test bigint : test targets in it
-- column: n_train bigint : training examples of the class whose weights are nearest to its mean
-- column: share double [fraction] : of the class's test targets
-- column: margin double [logit] : mean margin of its targets over the fit models
-- column: own_weight double [logit] : mean over its targets of the summed weights of its own training examples
-- column: sibling_weight double [logit] : of the class's other training examples
-- column: other_weight double [logit] : of all other classes' training examples
-- column: own_share double [fraction] : training examples of the class that are its own: what own_weight would be of both if all were alike
-- column: study_id text : name of the study
-- column: fit text : the fit whose weights were clustered
-- column: role text : one a plan
-- column: fingerprint text : fingerprint of the study
-- rows: a subpopulation of a class
with members as (
    select study_id, fingerprint, role, fit, cluster, split, example_id, label
    from labelled_clusters
    where within = 'class' and ($study is null or study_id = $study)
),
sums as (
    select targets.study_id, targets.role, targets.cluster,
           sum(weight) filter (trained.cluster = targets.cluster) as own,
           sum(weight) filter (trained.label = targets.label and trained.cluster <> targets.cluster) as sibling,
           sum(weight) filter (trained.label <> targets.label) as other
    from members as targets
    join weights on weights.study_id = targets.study_id and weights.fit = targets.fit and weights.split = 'test' and target_id = targets.example_id
    join members as trained on trained.study_id = targets.study_id and trained.role = targets.role and trained.split = 'train'
        and trained.example_id = train_id
    where targets.split = 'test'
    group by targets.study_id, targets.role, targets.cluster
),
subpopulations as (
    select study_id, role, fit, label, cluster, any_value(fingerprint) as fingerprint, count(*) filter (split = 'test') as n_test,
           count(*) filter (split = 'train') as n_train, avg(mean_margin) filter (split = 'test') as margin
    from members left join (select study_id, fit, split, target_id as example_id, mean_margin from fits) using (study_id, fit, split, example_id)
    group by study_id, role, fit, label, cluster
)
select label, cluster, n_test, n_train, n_test / sum(n_test) over class as share, margin, coalesce(own, 0)::double / n_test as own_weight,
       coalesce(sibling, 0)::double / n_test as sibling_weight, coalesce(other, 0)::double / n_test as other_weight,
       n_train / sum(n_train) over class as own_share, study_id, fit, role, fingerprint
from subpopulations left join sums using (study_id, role, cluster)
window class as (partition by study_id, role, label)
order by study_id, role, label, cluster
