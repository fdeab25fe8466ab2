-- question: Which images are in each cluster, the most typical first?
-- paper: Ilyas et al. 2022 section 4 (spectral clustering of datamodels)
-- tables: clusters, examples, studies (through the view labelled_clusters of the catalog: lake/macros/)
-- param: study text = null : one study; null: all
-- param: within all|class = all : clusters of all examples together, or of each class by itself
-- param: k integer 1..1000000 = 8 : how many images of each split
-- column: cluster integer : number of the cluster
-- column: split text : `test`: targets that were clustered; `train`: examples that joined the cluster nearest to them
-- column: rank bigint : 1 is the most similar to the cluster's mean
-- column: example_id integer : position in its split
-- column: label integer : class of the image
-- column: similarity double [cosine] : of its weights and the cluster's mean
-- column: study_id text : name of the study
-- column: fit text : the fit whose weights were clustered
-- column: role text : one a plan
-- column: fingerprint text : fingerprint of the study
-- rows: an image of a cluster
select cluster, split, row_number() over (partition by study_id, role, cluster, split order by similarity desc, example_id) as rank,
       example_id, label, similarity::double as similarity, study_id, fit, role, fingerprint
from labelled_clusters
where within = $within and ($study is null or study_id = $study)
qualify rank <= $k
order by study_id, role, cluster, split, rank
