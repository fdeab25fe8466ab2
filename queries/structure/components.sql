-- question: What do the principal components of the datamodels hold apart: which images stand at either end?
-- paper: Ilyas et al. 2022 section 4 (PCA of datamodels)
-- tables: components, examples, studies (through the view component_places of the catalog: lake/macros/)
-- param: k integer 1..1000000 = 6 : how many images of either end
-- param: embedding weights|residual|reverse = weights : of the weights, or of what they and another study's have beyond each other (model_diff)
-- param: study text = null : one study; null: all
-- column: component integer : place by explained variance, from 0
-- column: explained double [fraction] : share of the embedding's variance along it
-- column: split text : `test` for targets, by score; `train` for training examples, by loading
-- column: side text : `high` or `low` end; the largest loading of a component is positive
-- column: rank bigint : 1 is the furthest out
-- column: example_id integer : position in its split
-- column: value double : score of a target, or loading of a training example
-- column: label integer : class of the image
-- column: study_id text : name of the study
-- column: fit text : the fit whose weights are decomposed
-- column: other_study text : of a residual: the study that it is compared with
-- column: role text : one a plan
-- column: fingerprint text : fingerprint of the study
-- rows: an image among the k at an end of a component
with ends as (
    select study_id, role, embedding, component, split, example_id, value, unnest(['high', 'low']) as side, unnest([high_rank, low_rank]) as rank
    from component_places
    where embedding = $embedding and ($study is null or study_id = $study)
)
select component, explained, ends.split, side, rank, ends.example_id, value, label, study_id, fit, other_study, role, fingerprint
from ends join components using (study_id, role, embedding, component) left join studies using (study_id)
left join examples on examples.dataset_id = studies.dataset_id and examples.split = ends.split and examples.example_id = ends.example_id
where rank <= $k
order by study_id, role, component, ends.split, side, rank
