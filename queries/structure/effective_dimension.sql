-- question: In how many dimensions do datamodels, features and pixels spread the targets?
-- paper: Ilyas et al. 2022 section 4 (datamodels against representation embeddings)
-- tables: components, studies
-- param: study text = null : one study; null: all
-- column: embedding text : `weights`; `features` (last hidden layer of a network trained on everything) or `pixels`
-- column: participation_ratio double : squared sum of the components' variances over the sum of their squares: so many if all were equal
-- column: components_half bigint : components that hold half of the variance
-- column: components_90 bigint : components that hold 90% of the variance
-- column: n_components bigint : components with any variance
-- column: first_share double [fraction] : share of the first component
-- column: study_id text : name of the study
-- column: fit text : the fit whose weights they are
-- column: role text : one a plan
-- column: fingerprint text : fingerprint of the study
-- rows: an embedding of the test targets; rows are brought to one length and centred
with cumulated as (
    select study_id, role, fit, embedding, explained, sum(explained) over (partition by study_id, role, embedding order by component) as held
    from components
    where embedding in ('weights', 'features', 'pixels') and ($study is null or study_id = $study)
)
select embedding, sum(explained) ** 2 / sum(explained ** 2) as participation_ratio, count(*) filter (held < 0.5) + 1 as components_half,
       count(*) filter (held < 0.9) + 1 as components_90, count(*) as n_components, max(explained) as first_share, study_id, fit, role,
       any_value(fingerprint) as fingerprint
from cumulated left join studies using (study_id)
group by study_id, role, fit, embedding
order by study_id, role, participation_ratio desc
