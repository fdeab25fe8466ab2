-- view: labelled_clusters
-- rows: an example in a clustering, with its class
select study_id, dataset_id, fingerprint, clusters.role, fit, within, cluster, clusters.split, clusters.example_id, similarity, label
from clusters join studies using (study_id) join examples using (dataset_id, split, example_id)
