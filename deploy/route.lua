-- Routes every stored instance to dictamen, but not the results that dictamen itself stored here.
function OnStoredInstance(instanceId, tags, metadata, origin)
  if origin['RemoteAet'] == 'DICTAMEN' then
    return
  end
  SendToModality(instanceId, 'dictamen')
end
